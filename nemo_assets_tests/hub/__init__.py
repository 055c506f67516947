"""Tests of reading from and publishing to the Hub, and the Hub they talk to."""
