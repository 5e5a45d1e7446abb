"""A container engine of the suite's own: `dockerd` on its own socket, bridge and folder, and the image that SAM builds on.

No registry is asked: the image is made of this machine's own C library and a static busybox. Another engine of the machine
is left alone.
"""

import atexit, os, pathlib, shutil, socket, threading

from toolchain import ARCHITECTURE, SCRATCH, Server, run

# This run's own, so that two on one machine leave each other alone.
BRIDGE, ADDRESS = f"msd{os.getpid()}", f"10.{200 + os.getpid() // 256 % 50}.{os.getpid() % 256}.1"
SOCKET = SCRATCH / "docker.sock"
IMAGE = f"public.ecr.aws/lambda/provided:al2023-{ARCHITECTURE}"
# What SAM's own step on top of the image needs.
TOOLS_INSIDE = ("sh", "mv", "chmod", "cp", "rm", "mkdir", "ls")


class NoEngine(Exception):
    """Why there is no container engine here."""


def docker(*arguments, **more):
    return run("docker", "--host", f"unix://{SOCKET}", *arguments, **more)


def install():
    """Whatever of dockerd, its client and busybox is missing, if apt-get has it."""
    if os.getuid() != 0:
        raise NoEngine("dockerd wants root")
    if not shutil.which("ip"):
        raise NoEngine("there is no `ip`")
    if all(shutil.which(name) for name in ("dockerd", "docker", "busybox")):
        return
    if not shutil.which("apt-get"):
        raise NoEngine("there is no dockerd and no apt-get")
    # Run level 1: nothing that is installed is started.
    more = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    run("apt-get", "update", "--quiet", check=False, more=more)
    packages = ("docker.io", "busybox-static")
    if run("apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *packages, check=False, more=more).returncode:
        raise NoEngine("apt-get can't install docker.io")


class Engine:
    def __init__(self):
        install()
        ip = lambda *arguments: run("ip", *arguments, check=False)
        if ip("link", "add", BRIDGE, "type", "bridge").returncode:
            raise NoEngine("the kernel makes no bridge")
        # Also when the suite is ended in the midst of it.
        atexit.register(ip, "link", "delete", BRIDGE)
        ip("address", "add", f"{ADDRESS}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        self.server = Server(
            "dockerd", "dockerd", "--host", f"unix://{SOCKET}", "--data-root", SCRATCH / "docker",
            "--exec-root", SCRATCH / "exec", "--pidfile", SCRATCH / "docker.pid", "--bridge", BRIDGE,
            # Nothing of this machine's network is touched; a container reaches the bridge's address and no other.
            "--iptables=false", "--ip6tables=false", "--ip-masq=false", "--storage-driver", "vfs",
        )
        try:
            self.server.wait(lambda: docker("info", check=False).returncode == 0)
        except AssertionError as error:
            self.server.stop()
            raise NoEngine(f"dockerd does not run here: {str(error)[-300:]}") from error

    def image(self, binary, endpoint):
        """The base image: what a release binary links, a shell, and where the emulated AWS is."""
        root = SCRATCH / "image"
        for folder in ("bin", "etc/ssl/certs", "tmp", "var/task", "var/runtime"):
            (root / folder).mkdir(parents=True)
        shutil.copy(shutil.which("busybox"), root / "bin" / "busybox")
        for tool in TOOLS_INSIDE:
            (root / "bin" / tool).symlink_to("busybox")
        (root / "etc" / "passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", root / "etc" / "ssl" / "certs")
        for line in run("ldd", binary).stdout.splitlines():
            for library in [word for word in line.split() if word.startswith("/")]:
                place = root / library.lstrip("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(pathlib.Path(library).resolve(), place)
        changes = [
            "ENV LAMBDA_TASK_ROOT=/var/task", "ENV LAMBDA_RUNTIME_DIR=/var/runtime", "ENV PATH=/bin",
            f"ENV AWS_ENDPOINT_URL={endpoint}", "WORKDIR /var/task",
        ]
        archive = SCRATCH / "image.tar"
        run("tar", "--directory", root, "--create", "--file", archive, ".")
        docker("import", *[part for change in changes for part in ("--change", change)], archive, IMAGE)


def forward(port):
    """Lets containers reach a port of 127.0.0.1 by the bridge's address. Returns that port there."""
    listener = socket.create_server((ADDRESS, 0))

    def pipe(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve():
        while True:
            inside, _ = listener.accept()
            outside = socket.create_connection(("127.0.0.1", port))
            for ends in ((inside, outside), (outside, inside)):
                threading.Thread(target=pipe, args=ends, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


def environment():
    """What makes SAM use this engine."""
    return {"DOCKER_HOST": f"unix://{SOCKET}"}
