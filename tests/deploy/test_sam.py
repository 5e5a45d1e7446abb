"""SAM takes the template, builds it with cargo-lambda and nothing else, and makes of it what production is to have."""

import json, os, tomllib, unittest
from unittest import mock

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

from stack import build
from toolchain import REGION, ROOT, SAM, SCRATCH, TOOLS, functions, logical_id, run

CONFIG = tomllib.loads((ROOT / "samconfig.toml").read_text())


def parameters(stack, command="deploy"):
    """What samconfig.toml sets of a stack."""
    return dict(pair.split("=", 1) for pair in CONFIG[stack][command]["parameters"]["parameter_overrides"])


class NoManagedPolicies:
    """Every role is written out, so none is looked up at AWS."""

    def load(self):
        return {}


def production():
    """The template as CloudFormation gets it for production."""
    template = yaml_parse((ROOT / "template.yaml").read_text())
    for name in map(logical_id, functions()):
        # Where `sam deploy` puts what was built.
        template["Resources"][name]["Properties"]["CodeUri"] = "s3://bucket/key"
    with mock.patch.dict(os.environ, AWS_DEFAULT_REGION=REGION):
        return transform(template, parameters("prod"), NoManagedPolicies())


class Sam(unittest.TestCase):
    def test_the_template_is_valid_and_lints(self):
        run(SAM, "validate", "--lint")

    def test_build_makes_one_binary_for_each_function(self):
        built = {path.parent.name for path in build().glob("*/bootstrap")}
        self.assertEqual(built, {logical_id(name) for name in functions()})

    def test_what_is_built_is_for_the_processor_that_it_is_deployed_to(self):
        for stack in ("default", "prod"):
            self.assertEqual(parameters(stack, "build")["Architecture"], parameters(stack)["Architecture"], stack)

    def test_production_goes_over_to_new_code_gradually_and_is_taken_back_by_its_alarms(self):
        template = production()
        file = SCRATCH / "production.json"
        file.write_text(json.dumps(template))
        # CloudFormation leaves out a dependency on what a condition leaves out; the linter wants it gone before.
        run(TOOLS / "sam" / "bin" / "cfn-lint", "--ignore-checks", "W", "E3005", "--", file)
        resources = template["Resources"].values()
        groups = [each["Properties"] for each in resources if each["Type"] == "AWS::CodeDeploy::DeploymentGroup"]
        self.assertEqual(len(groups), len(functions()))
        expected = {
            "ServerErrorsAlarm", "AuthorizerLatencyAlarm", "AuthorizerThrottlesAlarm", "SettlementFailuresAlarm",
            "CostsOverHoldAlarm",
        }
        for group in groups:
            self.assertIn(parameters("prod")["Rollout"], json.dumps(group["DeploymentConfigName"]))
            self.assertTrue(group["AutoRollbackConfiguration"]["Enabled"])
            condition, alarms, _ = group["AlarmConfiguration"]["Fn::If"]
            self.assertEqual((condition, alarms["Enabled"]), ("WithAlarms", True))
            self.assertEqual({alarm["Name"]["Ref"] for alarm in alarms["Alarms"]}, expected)
        for alias in [each for each in resources if each["Type"] == "AWS::Lambda::Alias"]:
            self.assertIn("CodeDeployLambdaAliasUpdate", alias["UpdatePolicy"])

    def test_no_role_is_made_but_those_that_are_written_out(self):
        roles = {name for name, each in production()["Resources"].items() if each["Type"] == "AWS::IAM::Role"}
        own = {logical_id(name).removesuffix("Function") + "Role" for name in functions()}
        # Those of API Gateway's logs and of CodeDeploy.
        self.assertEqual(roles - own, {"ApiGatewayLogRole", "CodeDeployServiceRole"})
