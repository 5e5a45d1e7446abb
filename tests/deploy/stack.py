"""The whole template as a stack of an emulated AWS, deployed by `sam deploy`, and what there is to do with it."""

import functools, hashlib, hmac, json, time, urllib.error, urllib.parse, urllib.request, uuid

import botocore.session

from provider import CREDENTIAL, Provider, settings
from toolchain import ARCHITECTURE, REGION, ROOT, SAM, SCRATCH, TOOLS, Server, free_port, listens, run
from toolchain import build as built

NAME = "modelswitch-test"
# The account and the key for which events/ stand in.
PLACEHOLDER, TOKEN_PLACEHOLDER = "acct_0123456789ABCDEF", "ms-PUT-A-KEY-HERE"
STREAMING = ("chat-completions", "usage")
# What signs the webhooks in events/.
SIGNER = "whsec_example"


@functools.cache
def build():
    """What `sam build` makes of the template: a folder for each function."""
    built()
    folder = TOOLS / "sam-build"
    run(
        SAM, "build", "--build-dir", folder, "--cache-dir", TOOLS / "sam-cache",
        "--parameter-overrides", f"Architecture={ARCHITECTURE}",
    )
    return folder


@functools.cache
def provider():
    return Provider()


@functools.cache
def endpoint():
    """Where the emulated AWS answers. Lambda's functions run as processes there and talk to it too."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    more = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "AWS_ENDPOINT_URL": url, "MINISTACK_HOST": "127.0.0.1"}
    Server("ministack", TOOLS / "deploy" / "bin" / "ministack", more=more, ready=lambda: listens(port))
    return url


def client(service):
    session = botocore.session.get_session()
    return session.create_client(
        service, region_name=REGION, endpoint_url=endpoint(), aws_access_key_id="test", aws_secret_access_key="test"
    )


def deploy(**parameters):
    """`sam deploy`, as samconfig.toml has it for development. The emulator has no CodeDeploy, which gradual deployments
    need, and no alarms on more than one metric: those are linted, and that is all."""
    chosen = {
        "Architecture": ARCHITECTURE, "Rollout": "AllAtOnce", "Alarms": "false", "DeletionProtection": "false",
        "LogRetentionDays": "7",
    }
    run(
        SAM, "deploy", "--config-file", ROOT / "samconfig.toml", "--template-file", build() / "template.yaml",
        "--stack-name", NAME, "--no-progressbar",
        "--parameter-overrides", *[f"{name}={value}" for name, value in (chosen | parameters).items()],
        more={"AWS_ENDPOINT_URL": endpoint()},
    )
    complete_api()


def complete_api():
    """Puts into the API what the emulator leaves out when it imports one, out of the definition that SAM made: the gateway
    responses and the methods called ANY."""
    template = client("cloudformation").get_template(StackName=NAME, TemplateStage="Processed")["TemplateBody"]
    template = template if isinstance(template, dict) else json.loads(template)
    definition = template["Resources"]["Api"]["Properties"]["Body"]
    gateway, api = client("apigateway"), api_id()
    for kind, response in definition["x-amazon-apigateway-gateway-responses"].items():
        gateway.put_gateway_response(
            restApiId=api, responseType=kind, statusCode=str(response["statusCode"]),
            responseParameters=response["responseParameters"], responseTemplates=response["responseTemplates"],
        )
    resources = {each["path"]: each["id"] for each in gateway.get_resources(restApiId=api, limit=500)["items"]}
    for path, methods in definition["paths"].items():
        if method := methods.get("x-amazon-apigateway-any-method"):
            # The only function whose methods are ANY, and it asks no authorizer.
            if "UnknownRouteFunction" not in json.dumps(method["x-amazon-apigateway-integration"]["uri"]):
                raise AssertionError(f"ANY {path} is not unknown-route's: {method}")
            function = client("lambda").get_function_configuration(FunctionName=f"{NAME}-unknown-route")["FunctionArn"]
            uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function}:live/invocations"
            place = {"restApiId": api, "resourceId": resources[path], "httpMethod": "ANY"}
            gateway.put_method(**place, authorizationType="NONE")
            gateway.put_integration(**place, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
    gateway.create_deployment(restApiId=api, stageName="live")


def operator(*arguments):
    """The operator's command line on the stack. Its answer is what it prints as JSON."""
    said = run(built() / "debug" / "modelswitch", *arguments, "--stack", NAME, "--json", more={"AWS_ENDPOINT_URL": endpoint()})
    return json.loads(said.stdout)


@functools.cache
def stack():
    """The stack, with the provider's credential and the webhooks' in its secrets and the operator's settings in its table."""
    deploy()
    found = client("cloudformation").describe_stacks(StackName=NAME)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}
    secrets = {"ProviderSecretArn": {"lab": CREDENTIAL}, "PaymentsSecretArn": {"webhook_secrets": [SIGNER]}}
    for output, secret in secrets.items():
        client("secretsmanager").put_secret_value(SecretId=outputs[output], SecretString=json.dumps(secret))
    file = SCRATCH / "settings.json"
    file.write_text(json.dumps(settings(provider().base_url)))
    operator("config", "set", file)
    return found | {"outputs": outputs}


class Account:
    """A new account with a proxy key and a billing key: keys 1 and 2, as in events/."""

    def __init__(self, credit="5", *limits):
        stack()
        self.id = operator("account", "create", "--name", "deploy", "--credit", credit)["id"]
        self.proxy = self.key("proxy", *limits)
        self.billing = self.key("billing")

    def key(self, kind, *limits):
        return operator("key", "create", "--account", self.id, "--name", kind, "--type", kind, *limits)["key"]

    def of(self, event):
        """The event as one of this account's, that comes now and for the first time."""
        text = json.dumps(event).replace(PLACEHOLDER, self.id).replace(TOKEN_PLACEHOLDER, self.proxy)
        event = json.loads(text)
        if context := event.get("requestContext"):
            context["requestId"] = str(uuid.uuid4())
            context["requestTimeEpoch"] = int(time.time() * 1000)
        return event

    def signed(self, event):
        """Stripe's event as one of this account's, with a signature of its own time."""
        event, now = self.of(event), int(time.time())
        mac = hmac.new(SIGNER.encode(), f"{now}.{event['body']}".encode(), hashlib.sha256).hexdigest()
        event["headers"]["stripe-signature"] = f"t={now},v1={mac}"
        event["multiValueHeaders"]["stripe-signature"] = [f"t={now},v1={mac}"]
        return event

    def balance(self):
        return request("GET", "/api/balance", self.billing)[2]["balance"]


@functools.cache
def api_id():
    [found] = [api for api in client("apigateway").get_rest_apis()["items"] if api["name"] == NAME]
    return found["id"]


def address(path):
    """Where the stack's API has this path."""
    return f"{endpoint()}/restapis/{api_id()}/live/_user_request_{path}"


def request(method, path, key=None, body=None, headers=(), text=None):
    """Asks the stack's API, with JSON or with a text that is some already. Returns (status, headers, the body's JSON)."""
    headers = dict(headers) | ({"authorization": f"Bearer {key}"} if key else {})
    text = text if body is None else json.dumps(body)
    data = text and text.encode()
    asked = urllib.request.Request(address(path), data=data, method=method, headers=headers)
    if data:
        asked.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.status, answer.headers, json.loads(answer.read() or "null", parse_float=str)
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, json.loads(answer.read() or "null", parse_float=str)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


class Visitor:
    """A browser as far as the dashboard needs one: it keeps cookies, though the emulator has no https, and follows nothing by
    itself. It says nothing of where a form comes from, as old ones do: the emulator does not tell the function its host."""

    def __init__(self):
        self.cookies = {}
        self.opener = urllib.request.build_opener(NoRedirect)

    def ask(self, path, form=None):
        """Opens a page of the stack's API, or sends a form there. Returns (status, headers, text)."""
        asked = urllib.request.Request(address(path), data=form and urllib.parse.urlencode(form).encode())
        asked.add_header("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        try:
            answer = self.opener.open(asked, timeout=60)
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            for line in answer.headers.get_all("set-cookie", []):
                name, value = line.split(";")[0].split("=", 1)
                self.cookies[name] = value
                if "Max-Age=0" in line:
                    del self.cookies[name]
            return answer.status, answer.headers, answer.read().decode()


def environment(function):
    """The variables that the stack gave a function."""
    found = client("lambda").get_function_configuration(FunctionName=f"{NAME}-{function}")
    return found["Environment"]["Variables"] if "Environment" in found else {}


def unframed(answer):
    """The status, the headers and the body of what a streaming function sends: a prelude, eight zero bytes, the body."""
    prelude, separator, body = answer.partition(b"\0" * 8)
    if not separator:
        raise AssertionError(f"no prelude: {answer[:200]}")
    prelude = json.loads(prelude)
    return prelude["statusCode"], prelude["headers"], body


def streamed(function, event):
    """The answer of a deployed streaming function, through Lambda's response stream."""
    answer = client("lambda").invoke_with_response_stream(
        FunctionName=f"{NAME}-{function}", Payload=json.dumps(event).encode()
    )
    pieces = [part["PayloadChunk"]["Payload"] for part in answer["EventStream"] if "PayloadChunk" in part]
    # The emulator sends what is no JSON as one string of JSON.
    return unframed(json.loads(b"".join(pieces)).encode())


def invoked(function, event):
    """The answer of a deployed function."""
    answer = client("lambda").invoke(FunctionName=f"{NAME}-{function}", Payload=json.dumps(event).encode())
    return json.loads(answer["Payload"].read())
