"""What an S3 server says of a bucket, in one sentence."""

import uuid
from typing import Any
from urllib.parse import urlsplit

import botocore.session  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from ptychodose.bundle.remote_config import Remote

TIMEOUT_S = 2.0
_WRONG_KEY = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken")


def write_obstacle(remote: Remote) -> str | None:
    """Why a bucket that can be read cannot be written; None if it can.

    Raises
    ------
    UserError
        No server, no key or a wrong one, no bucket, or no right to list it.
    """
    try:
        return _ask_bucket(remote, _client(remote))
    except ClientError as error:
        raise remote.refuse(_refusal(remote, error)) from None
    except (BotoCoreError, ValueError) as error:
        raise remote.refuse(_no_answer(remote, error)) from None


def _client(remote: Remote) -> Any:
    options = remote.options
    session = botocore.session.Session(profile=options.get("profile"))
    once = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 1})
    return session.create_client(
        "s3",
        endpoint_url=options.get("endpointurl"),
        region_name=options.get("region") or session.get_config_variable("region") or "us-east-1",
        aws_access_key_id=options.get("access_key_id"),
        aws_secret_access_key=options.get("secret_access_key"),
        aws_session_token=options.get("session_token"),
        config=once,
    )


def _ask_bucket(remote: Remote, client: Any) -> str | None:
    """List, then write an object of no bytes and remove it."""
    parts = urlsplit(remote.url)
    bucket, prefix = parts.netloc, parts.path.strip("/")
    client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    key = f"{prefix}/write-test-{uuid.uuid4().hex}".lstrip("/")
    try:
        client.put_object(Bucket=bucket, Key=key, Body=b"")
    except ClientError as error:
        return _code(error)
    client.delete_object(Bucket=bucket, Key=key)
    return None


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _refusal(remote: Remote, error: ClientError) -> str:
    code = _code(error)
    bucket = urlsplit(remote.url).netloc
    if code in _WRONG_KEY:
        option = "access_key_id" if code == "InvalidAccessKeyId" else "secret_access_key"
        return f"the server refuses the key ({code}); set it with {_setting(remote, option)}"
    if code == "NoSuchBucket":
        return f"the server has no bucket {bucket!r}; create it there, or correct the url"
    if code == "AccessDenied":
        return f"the key may not list bucket {bucket!r}; ask its owner for read access"
    return f"the server does not list bucket {bucket!r} ({code}); is endpointurl that of its S3 service?"


def _no_answer(remote: Remote, error: Exception) -> str:
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        settings = (_setting(remote, option) for option in ("access_key_id", "secret_access_key"))
        return f"no key is set; set it with {' and '.join(settings)}"
    if isinstance(error, ConnectionError | HTTPClientError):
        where = remote.options.get("endpointurl", "Amazon S3")
        return (
            f"nothing answers at {where}; start the server, or correct its address with "
            f"`dvc remote modify {remote.name} endpointurl URL`"
        )
    reason = " ".join(str(error).split())
    return f"S3 cannot be asked ({reason}); correct it with `dvc remote modify {remote.name}`"


def _setting(remote: Remote, option: str) -> str:
    return f"`dvc remote modify --local {remote.name} {option} VALUE`"
