"""Two real S3 servers: SeaweedFS knows several keys, rclone keeps objects as plain files."""

import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

BIN = Path(sys.executable).parent
KEY, SECRET = "OWNERKEYOWNERKEY", "a-secret-of-no-value"
READER_KEY, READER_SECRET = "READERKEYREADERK", "another-of-no-value"
BUCKET = "bucket"
GRPC_OFFSET = 10_000
READY_S = 30.0


@dataclass
class Server:
    """One that runs, or ran: it can be killed and started again with the same data."""

    command: list[str]
    url: str
    folder: Path
    writable: bool = True
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self):
        with (self.folder.parent / "server.log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until = time.monotonic() + READY_S
        while not self._ready():
            assert self.process.poll() is None and time.monotonic() < until, log_of(self)
            time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def client(self):
        once = Config(retries={"total_max_attempts": 1})
        return botocore.session.Session().create_client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            config=once,
        )

    def objects(self):
        pages = self.client().list_objects_v2(Bucket=BUCKET)
        return [entry["Key"] for entry in pages.get("Contents", [])]

    def _ready(self):
        """An object can be written: SeaweedFS answers before it has a volume for one."""
        client = self.client()
        try:
            if not self.writable:
                return bool(client.list_buckets())
            if not any(bucket["Name"] == BUCKET for bucket in client.list_buckets()["Buckets"]):
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"ready")
            client.delete_object(Bucket=BUCKET, Key="ready")
        except (BotoCoreError, ClientError):
            return False
        return True


def log_of(server):
    return (server.folder.parent / "server.log").read_text(errors="replace")[-2000:]


def free_ports(count):
    """Ports of which the ones GRPC_OFFSET higher are free too, below those the system gives to clients."""
    found = []
    for port in range(11_000, 20_000, 7):
        if len(found) < count and _free(port) and _free(port + GRPC_OFFSET):
            found.append(port)
    assert len(found) == count
    return found


def _free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def running(server):
    server.folder.mkdir(parents=True, exist_ok=True)
    try:
        server.start()
        yield server
    finally:
        if server.process is not None:
            server.kill()


def seaweedfs(root):
    identities = [
        _identity("owner", KEY, SECRET, ["Admin", "Read", "List", "Write"]),
        _identity("reader", READER_KEY, READER_SECRET, ["Read", "List"]),
    ]
    config = root / "identities.json"
    config.write_text(json.dumps({"identities": identities}))
    s3, master, volume, filer = free_ports(4)
    command = [
        str(BIN / "weed"), "server", f"-dir={root / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-s3", f"-s3.config={config}", f"-s3.port={s3}", "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-s3.iam=false", "-s3.autoCreateBucket=false", f"-master.port={master}", "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64", f"-volume.port={volume}", f"-filer.port={filer}",
    ]  # fmt: skip
    return Server(command, f"http://127.0.0.1:{s3}", root / "data")


def _identity(name, key, secret, actions):
    return {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}


def rclone(root, *options):
    (port,) = free_ports(1)
    command = [
        str(BIN / "rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}",
        *options, str(root / "data"),
    ]  # fmt: skip
    return Server(command, f"http://127.0.0.1:{port}", root / "data", "--read-only" not in options)


@contextmanager
def web_server(folder):
    """One that is no S3 server."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
