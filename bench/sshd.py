"""An sshd of our own on the loopback, with keys of its own."""
import getpass
import os
import shutil
import socket
import subprocess
import time

SSHD = "/usr/sbin/sshd"


def here():
    return os.path.exists(SSHD) and shutil.which("ssh") is not None


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens on port {port}")


class Sshd:
    def __init__(self, lab):
        self.folder, self.port = lab.folder, free_port()
        os.makedirs("/run/sshd", exist_ok=True)
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{self.folder}/{key}"], check=True)
        with open(f"{self.folder}/sshd_config", "w", encoding="utf-8") as f:
            f.write(f"ListenAddress 127.0.0.1:{self.port}\nHostKey {self.folder}/host\nAuthorizedKeysFile {self.folder}/user.pub\nPidFile none\n"
                    "StrictModes no\nPermitRootLogin prohibit-password\nUsePAM no\nPrintMotd no\nPrintLastLog no\n")
        self.pid = lab.start(SSHD, "-D", "-e", "-f", f"{self.folder}/sshd_config", stderr=subprocess.DEVNULL).pid
        wait_for(self.port)

    def client(self, port, *words):
        """The words of a client that comes to it by that port."""
        return ["ssh", "-F", "none", "-p", str(port), "-i", f"{self.folder}/user", "-o", "Ciphers=aes128-gcm@openssh.com",
                "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={self.folder}/known", "-o", "LogLevel=ERROR",
                *map(str, words), f"{getpass.getuser()}@127.0.0.1"]
