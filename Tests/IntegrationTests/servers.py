"""Real MariaDB and Redis servers on free loopback ports, ended by pid."""

import os
import shutil
import signal
import subprocess
import time
from functools import cached_property
from pathlib import Path


from node import _die_with_parent, eventually

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def program(*names):
    for name in names:
        if found := shutil.which(name, path=PATH):
            return found
    raise AssertionError(f"{names[0]} is not installed: ./topology/install-packages test")


class Server:
    """A process with a directory of its own that outlives it."""

    process = None

    def launch(self, *command):
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*map(str, command)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=_die_with_parent)

    def kill(self):
        """kill -9."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def alive(self):
        assert self.process.poll() is None, (self.directory / "log").read_text()[-3000:]


class MariaDB(Server):
    """A primary, or a replica of one; user `dp` owns database `dp`."""

    def __init__(self, directory, port, number=1, options=()):
        self.directory, self.port, self.number = Path(directory), port, number
        self.options = options
        self.socket = self.directory / "sock"
        self.url = f"mysql://dp:secret@127.0.0.1:{port}/dp"

    def start(self):
        if not (self.directory / "data").exists():
            self.directory.mkdir(parents=True)
            subprocess.run(
                [program("mariadb-install-db"), "--no-defaults", *self.as_user(),
                 f"--datadir={self.directory}/data", "--skip-test-db",
                 "--auth-root-authentication-method=normal"],
                check=True, capture_output=True, timeout=60)
        self.launch(
            program("mariadbd"), "--no-defaults", *self.as_user(),
            f"--datadir={self.directory}/data", f"--tmpdir={self.directory}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1", f"--socket={self.socket}",
            f"--pid-file={self.directory}/pid", f"--server-id={self.number}",
            f"--log-bin={self.directory}/binlog", "--innodb-buffer-pool-size=256M",
            "--innodb-log-file-size=96M", *self.options)
        eventually(lambda: self.alive() or self.sql("SELECT 1") == [["1"]], 60, "mariadbd")
        self.sql(
            "SET SESSION sql_log_bin = 0;"
            "CREATE DATABASE IF NOT EXISTS dp;"
            "CREATE USER IF NOT EXISTS dp@'127.0.0.1' IDENTIFIED BY 'secret';"
            "GRANT ALL ON dp.* TO dp@'127.0.0.1'")
        return self

    @staticmethod
    def as_user():
        return ["--user=root"] if os.geteuid() == 0 else []

    def sql(self, text, database=None):
        """The rows, as root."""
        answer = subprocess.run(
            [program("mariadb"), "--no-defaults", "-uroot", f"-S{self.socket}", "-N", "-B", "-e",
             text, *([database] if database else [])],
            capture_output=True, text=True, timeout=120)
        assert answer.returncode == 0, answer.stderr
        return [line.split("\t") for line in answer.stdout.splitlines()]

    def number_of(self, text):
        return int(self.sql(text, "dp")[0][0])

    def follow(self, primary):
        """Begins to replicate all that the primary has written since it was made."""
        primary.sql(
            "CREATE USER IF NOT EXISTS follower@'127.0.0.1' IDENTIFIED BY 'secret';"
            "GRANT REPLICATION SLAVE ON *.* TO follower@'127.0.0.1'")
        self.sql(
            f"CHANGE MASTER TO master_host='127.0.0.1', master_port={primary.port}, "
            "master_user='follower', master_password='secret', master_use_gtid=slave_pos, "
            "master_connect_retry=1; START SLAVE; SET GLOBAL read_only = 1")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


class Redis(Server):
    """Keeps what it has in an append-only file; with `password`, asks for it."""

    def __init__(self, directory, port, options=(), password=None):
        self.directory, self.port, self.options = Path(directory), port, options
        self.password = password
        self.url = f"redis://{f':{password}@' if password else ''}127.0.0.1:{port}/0"

    def start(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.launch(
            program("redis-server"), "--port", self.port, "--bind", "127.0.0.1", "--dir",
            self.directory, "--save", "", "--appendonly", "yes",
            *(["--requirepass", self.password] if self.password else []), *self.options)
        eventually(lambda: self.alive() or self.answers(), 20, "redis-server")
        return self

    @cached_property
    def client(self):
        import redis  # measurements start servers without it
        return redis.Redis(
            port=self.port, password=self.password, decode_responses=True, socket_timeout=10)

    def answers(self):
        from redis.exceptions import ConnectionError
        try:
            return self.client.ping()
        except ConnectionError:
            return False


def wait_for_lag(nodes, seconds=60):
    """Everything committed is in the store, and in Redis."""
    def caught_up():
        for node in nodes:
            told = node.request("GET", "/v1/status", listener="admin").json()
            assert told["lagEntries"] == 0, told
            assert told["redisLagEntries"] == 0, told
        return True
    eventually(caught_up, seconds, "a lag of nothing")
    time.sleep(0.3)
    eventually(caught_up, seconds, "a lag of nothing")
