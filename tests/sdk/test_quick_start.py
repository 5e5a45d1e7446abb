"""What the dashboard's quick start says for Python does what it says, as it is copied. Run by ./run."""

import json
import os
import subprocess
import sys


def test_the_example_for_python_is_answered_as_it_is_copied():
    with open(os.environ["MODELSWITCH_EXAMPLES"]) as file:
        example = json.load(file)["python"]
    environment = {**os.environ, "MODELSWITCH_API_KEY": os.environ["MODELSWITCH_EXAMPLES_KEY"]}
    said = subprocess.run([sys.executable, "-c", example], env=environment, capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, f"{example}\n{said.stderr}"
    assert said.stdout.strip(), example
