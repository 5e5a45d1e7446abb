"""Where things are, how commands are run, and the servers that the suite starts and ends."""

import atexit, functools, json, os, pathlib, platform, shutil, signal, socket, subprocess, tempfile, threading

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOOLS = ROOT / "target" / "ci"
SAM = TOOLS / "sam" / "bin" / "sam"
ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
REGION = "us-east-1"
# Short: sockets live below it.
SCRATCH = pathlib.Path(tempfile.mkdtemp(prefix="msd-"))

# What the suite's commands see: this machine's tools, no AWS and nobody's credentials.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DOCKER_"))} | {
    "PATH": f"{TOOLS / 'deploy' / 'bin'}:{os.environ['PATH']}",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
    # Builds for this machine with its own linker.
    "CARGO_LAMBDA_COMPILER": "cargo",
    "CARGO_TERM_COLOR": "never",
    "SAM_CLI_TELEMETRY": "0",
    "__SAM_CLI_APP_DIR": str(SCRATCH / "sam"),
    "TMPDIR": str(SCRATCH),
}


def run(*command, more=None, check=True, seconds=3600):
    """Runs a command at the top of the project; what it prints goes into the failure, if it fails."""
    done = subprocess.run(
        [str(part) for part in command], cwd=ROOT, env=ENVIRONMENT | (more or {}), text=True, timeout=seconds,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout[-6000:]}")
    return done


@functools.cache
def build():
    """Builds every function's release binary, zipped, and the operator's command line. Returns cargo's target directory.

    Each function by itself, as SAM does it: so SAM finds them built, and no function gets features that another one or the
    command line switches on.
    """
    for function in functions():
        run("cargo", "lambda", "build", "--release", "--locked", "--output-format", "zip", "--package", function)
    run("cargo", "build", "--quiet", "--locked", "--package", "modelswitch")
    return target()


def target():
    """Cargo's target directory."""
    said = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1", "--offline"],
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True,
    )
    return pathlib.Path(json.loads(said.stdout)["target_directory"])


def functions():
    """The functions, by their folders."""
    folders = (ROOT / "functions").iterdir()
    return sorted(folder.name for folder in folders if folder.is_dir() and folder.name not in ("shared", "local"))


def logical_id(function):
    """What the template calls a function."""
    return "".join(word.title() for word in function.split("-")) + "Function"


def events(function):
    """Every event of a function, by its case."""
    files = sorted((ROOT / "events" / function).glob("*.json"))
    return {file.stem: json.loads(file.read_text()) for file in files}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A process that serves until it is stopped. Its log is kept for whoever has to find out why it does not."""

    running = []

    def __init__(self, name, *command, more=None, ready=None):
        self.name, self.log = name, SCRATCH / f"{name}-{len(Server.running)}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], cwd=ROOT, env=ENVIRONMENT | (more or {}),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )
        Server.running.append(self)
        if ready:
            self.wait(ready)

    def wait(self, ready, seconds=120):
        """Asks `ready` until it says yes; the server may not end before."""
        ended = lambda: self.process.poll() is not None
        if not eventually(lambda: ended() or ready(), seconds) or ended():
            raise AssertionError(f"{self.name} is not ready:\n{self.tail()}")

    def tail(self):
        return self.log.read_text(errors="replace")[-4000:]

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def eventually(holds, seconds=120):
    """Whether this holds, now or some time later. The time is for a machine that has much else to do."""
    pause = threading.Event()
    for _ in range(seconds * 20):
        if holds():
            return True
        pause.wait(0.05)
    return False


def listens(port):
    """Whether somebody listens on this port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


# So that what was started ends when the suite is told to: as with Ctrl-C, which no test takes for its failure.
signal.signal(signal.SIGTERM, signal.default_int_handler)


@atexit.register
def end():
    for server in reversed(Server.running):
        server.stop()
    shutil.rmtree(SCRATCH, ignore_errors=True)
