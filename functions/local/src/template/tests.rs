use super::*;

const SMALL: &str = r#"
Parameters:
  Ttl: { Type: Number, Default: 7 }
Globals:
  Function: { Timeout: 29 }
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      Auth:
        DefaultAuthorizer: KeyAuthorizer
        Authorizers:
          KeyAuthorizer:
            FunctionArn: !GetAtt AuthorizerFunction.Arn
            Identity: { Header: Authorization, ValidationExpression: "ms-[a-z]+", ReauthorizeEvery: !Ref Ttl }
      GatewayResponses:
        UNAUTHORIZED:
          StatusCode: 401
          ResponseParameters: { Headers: { x-request-id: context.requestId } }
          ResponseTemplates: { application/json: '{"no":1}' }
  AuthorizerFunction:
    Type: AWS::Serverless::Function
    Properties: { CodeUri: functions/authorizer/ }
  ModelsFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/models/
      Timeout: 900
      Events:
        Show: { Type: Api, Properties: { RestApiId: !Ref Api, Path: "/v1/models/{id+}", Method: get, ResponseTransferMode: RESPONSE_STREAM } }
        Rest: { Type: Api, Properties: { Path: /, Method: ANY, Auth: { Authorizer: NONE } } }
        Timer: { Type: Schedule, Properties: { Schedule: rate(1 minute) } }
  LedgerTable:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: !Sub "${AWS::StackName}-ledger"
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{ AttributeName: account, AttributeType: S }]
      KeySchema: [{ AttributeName: account, KeyType: HASH }]
      StreamSpecification: { StreamViewType: NEW_IMAGE }
      TimeToLiveSpecification: { AttributeName: ttl, Enabled: true }
"#;

fn error_of(text: &str) -> String {
    Template::parse(text).unwrap_err()
}

#[test]
fn routes_authorizer_responses_and_tables_are_read() {
    let template = Template::parse(SMALL).unwrap();
    let rest = Route { method: None, path: "/".into(), function: "models".into(), authorized: false, streamed: false };
    let show = Route {
        method: Some(Method::GET),
        path: "/v1/models/{id+}".into(),
        function: "models".into(),
        authorized: true,
        streamed: true,
    };
    assert_eq!(template.routes, [rest, show]);
    assert_eq!(template.schedules, [Schedule { function: "models".into(), every: Duration::from_secs(60) }]);
    assert_eq!(template.authorizer.function, "authorizer");
    assert_eq!(template.authorizer.ttl_ms, 7000);
    let seconds = |function: &str| template.timeouts[function].as_secs();
    assert_eq!((seconds("models"), seconds("authorizer")), (900, 29), "its own, or everybody's");
    let validation = template.authorizer.validation.unwrap();
    assert!(validation.is_match("ms-abc") && !validation.is_match("ms-abc "), "the whole header must match");
    let unauthorized = &template.gateway_responses["UNAUTHORIZED"];
    assert_eq!(unauthorized.status, Some(401));
    assert_eq!(unauthorized.body, r#"{"no":1}"#);
    assert_eq!(unauthorized.headers, [("x-request-id".to_owned(), "context.requestId".to_owned())]);
    let table = &template.tables[0];
    assert_eq!(table.name, "modelswitch-ledger");
    assert_eq!(table.definition["KeySchema"][0]["AttributeName"], "account");
    assert!(table.streamed && table.definition.get("StreamSpecification").is_none());
    assert_eq!(table.time_to_live.as_ref().unwrap()["TableName"], "modelswitch-ledger");
}

#[test]
fn the_template_of_this_version_is_read_whole() {
    let template = Template::parse(EMBEDDED).unwrap();
    assert!(template.routes.iter().any(|route| route.path == "/v1/chat/completions" && route.authorized));
    assert_eq!(template.authorizer.function, "authorizer");
    assert_eq!(template.least_compressed, Some(1024));
    let tables: Vec<_> = template.tables.iter().map(|table| table.name.as_str()).collect();
    for name in
        ["modelswitch-accounts", "modelswitch-tokens", "modelswitch-ledger", "modelswitch-usage", "modelswitch-people"]
    {
        assert!(tables.contains(&name), "{name} is not in {tables:?}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    assert!(error_of("a: [").contains("line 2 column 1"), "{}", error_of("a: ["));
    assert_eq!(error_of(""), "it holds 0 YAML documents instead of one");
    assert_eq!(error_of("root:x:0"), "it is no CloudFormation template: it has no Resources");
    assert_eq!(error_of("Resources: {}"), "it must hold exactly one resource of type AWS::Serverless::Api");
    let no_path = SMALL.replace("Path: /, ", "");
    assert_eq!(error_of(&no_path), "Resources.ModelsFunction.Properties.Events.Rest.Properties: missing field `Path`");
    for wrong in ["rate(0 minutes)", "rate(5 moons)", "cron(0 * * * ? *)", "5 minutes"] {
        let no_rate = error_of(&SMALL.replace("rate(1 minute)", &format!("'{wrong}'")));
        assert!(no_rate.contains("ModelsFunction.Properties.Events.Timer.Properties.Schedule: `"), "{no_rate}");
    }
    let no_function = SMALL.replace("!GetAtt AuthorizerFunction.Arn", "!GetAtt Other.Arn");
    assert!(error_of(&no_function).ends_with("FunctionArn: there is no function `Other`"));
    let bad_pattern = SMALL.replace("ms-[a-z]+", "ms-[a-z");
    assert!(error_of(&bad_pattern).contains("KeyAuthorizer.Identity.ValidationExpression"));
    let missing = Template::load(Some(Path::new("/no/such/template.yaml"))).unwrap_err().to_string();
    assert!(missing.starts_with("/no/such/template.yaml: "), "{missing}");
}
