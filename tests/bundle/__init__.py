"""Tests of ptychodose.bundle; a package, so that a file here may bear the name of one in another room."""
