"""SAM takes the template, and builds it with cargo-lambda and nothing else."""

import unittest

from stack import build
from toolchain import SAM, functions, logical_id, run


class Sam(unittest.TestCase):
    def test_the_template_is_valid_and_lints(self):
        run(SAM, "validate", "--lint")

    def test_build_makes_one_binary_for_each_function(self):
        built = {path.parent.name for path in build().glob("*/bootstrap")}
        self.assertEqual(built, {logical_id(name) for name in functions()})
