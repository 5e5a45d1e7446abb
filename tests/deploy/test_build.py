"""`cargo lambda build` makes every function's binary, and each is small enough to start fast and linked as functions/build.rs says."""

import unittest, zipfile

from toolchain import build, functions

# Zipped, in bytes. The authorizer stands before every request.
BUDGET, AUTHORIZER_BUDGET = 6_000_000, 3_000_000


class Build(unittest.TestCase):
    def test_every_function_s_binary_is_built_and_within_its_budget(self):
        folder = build() / "lambda"
        for function in functions():
            with self.subTest(function):
                size = (folder / function / "bootstrap.zip").stat().st_size
                print(f"{function}: {size / 1e6:.2f} MB zipped", flush=True)
                self.assertLessEqual(size, AUTHORIZER_BUDGET if function == "authorizer" else BUDGET)

    def test_every_function_s_binary_lies_at_a_fixed_address(self):
        for function in functions():
            archive = build() / "lambda" / function / "bootstrap.zip"
            with self.subTest(function), zipfile.ZipFile(archive).open("bootstrap") as binary:
                header = binary.read(18)
                # Of an ELF file the type: 2 is executable at its address, 3 anywhere.
                self.assertEqual((header[:4], header[16]), (b"\x7fELF", 2))
