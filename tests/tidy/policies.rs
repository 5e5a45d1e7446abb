//! A function's role allows exactly what its code does, on exactly the tables that it does it to.
//!
//! What the code does is read from the text. In gateway-store every operation names its table right behind itself
//! (`.get_item().table_name(&self.tables.tokens)`), so each of its functions has operations of its own and those of the
//! functions that it calls; and a Lambda function does what the store's functions do whose names its code calls.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{template::Template, tree};

/// What begins an operation in the store's text, and the right that it needs. A transaction needs those of its parts.
const OPERATIONS: [(&str, &str); 15] = [
    (".get_item()", "dynamodb:GetItem"),
    (".put_item()", "dynamodb:PutItem"),
    (".update_item()", "dynamodb:UpdateItem"),
    (".delete_item()", "dynamodb:DeleteItem"),
    (".query()", "dynamodb:Query"),
    (".scan()", "dynamodb:Scan"),
    (".batch_get_item()", "dynamodb:BatchGetItem"),
    (".batch_write_item()", "dynamodb:BatchWriteItem"),
    ("Get::builder()", "dynamodb:GetItem"),
    ("Put::builder()", "dynamodb:PutItem"),
    ("Update::builder()", "dynamodb:UpdateItem"),
    ("Delete::builder()", "dynamodb:DeleteItem"),
    ("ConditionCheck::builder()", "dynamodb:ConditionCheckItem"),
    (".get_secret_value()", SECRET_RIGHT),
    (".send_email()", EMAIL_RIGHT),
];

const SECRET_RIGHT: &str = "secretsmanager:GetSecretValue";

/// What is reached: the field of the store's `Tables`, and what the template calls it.
const RESOURCES: [(&str, &str); 5] = [
    ("accounts", "AccountsTable"),
    ("tokens", "TokensTable"),
    ("ledger", "LedgerTable"),
    ("usage", "UsageTable"),
    ("people", "PeopleTable"),
];

/// The secrets, by the variables that name them: which ones a function reads are those that it is given.
const SECRETS: [(&str, &str); 3] =
    [("PROVIDER_SECRET", "ProviderSecret"), ("OPENID_SECRET", "OpenIdSecret"), ("PAYMENTS_SECRET", "PaymentsSecret")];

const SECRET: &str = "secret";

const EMAIL_RIGHT: &str = "ses:SendEmail";
/// Whatever identity SES knows: the condition says from which address.
const IDENTITIES: &str = "arn:${AWS::Partition}:ses:${AWS::Region}:${AWS::AccountId}:*";
const EMAIL: &str = "email";

/// What the store's types are called where their methods are called.
const RECEIVERS: [&str; 9] = ["self", "store", "secret", "secrets", "configuration", "app", "held", "bill", "mailer"];

/// The crates through which a function reaches a table: the store, and what pays by it.
const REACHING: [&str; 2] = ["functions/shared/gateway-store/src", "functions/shared/gateway-paid/src"];

/// (`dynamodb:GetItem`, `tokens`)
type Right = (&'static str, &'static str);

/// One function of the store.
#[derive(Default)]
struct Operation {
    rights: BTreeSet<Right>,
    calls: BTreeSet<String>,
}

/// What a text calls: functions by their names, and the store's methods by theirs with a dot before it. A call is one of
/// a method of the store by what stands before the dot: the SDK's builders have methods of the same names.
fn calls(code: &str) -> BTreeSet<String> {
    let words: String = code.split_whitespace().collect::<Vec<_>>().join(" ").replace(" .", ".");
    let name_before = |end: usize| {
        let start = words[..end].rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |before| before + 1);
        (start, &words[start..end])
    };
    let name = |(at, _): (usize, &str)| {
        let (start, name) = name_before(at);
        if !words[..start].ends_with('.') {
            return Some(name.to_owned());
        }
        RECEIVERS.contains(&name_before(start - 1).1).then(|| format!(".{name}"))
    };
    words.match_indices('(').filter_map(name).collect()
}

/// The rights that a function of the store needs by itself.
fn rights(function: &str, body: &str) -> BTreeSet<Right> {
    let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    let mut rights = BTreeSet::new();
    for (begins, right) in OPERATIONS {
        for (at, _) in body.match_indices(begins) {
            let table = body[at..].split_once("tables.").map_or("", |(_, table)| table);
            let resource = match right {
                SECRET_RIGHT => SECRET,
                EMAIL_RIGHT => EMAIL,
                _ => table,
            };
            let known = RESOURCES.iter().map(|(name, _)| *name).chain([SECRET, EMAIL]);
            let resource = known.into_iter().find(|name| resource.starts_with(name));
            rights.insert((right, resource.unwrap_or_else(|| panic!("{function}: no table is named behind {begins}"))));
        }
    }
    rights
}

/// The store's functions by the names that `calls` finds. Two of one name count as one.
fn store() -> BTreeMap<String, Operation> {
    let code = REACHING.map(tree::code).concat();
    let mut store: BTreeMap<String, Operation> = BTreeMap::new();
    for text in code.split("fn ").skip(1) {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        let (name, body) = text.split_at(end);
        let parameters = body.split_once('(').map_or("", |(_, rest)| rest.trim_start());
        let method = ["&self", "&mut self", "self", "mut self"].iter().any(|first| parameters.starts_with(first));
        let operation = store.entry(format!("{}{name}", if method { "." } else { "" })).or_default();
        operation.rights.extend(rights(name, body));
        operation.calls.extend(calls(body));
    }
    store
}

/// What code that calls these names needs, all the way down, and through which call.
fn needed(store: &BTreeMap<String, Operation>, called: BTreeSet<String>) -> BTreeMap<Right, String> {
    let (mut needed, mut seen) = (BTreeMap::new(), BTreeSet::new());
    let mut ways: Vec<_> = called.into_iter().map(|name| (name.clone(), name)).collect();
    while let Some((name, way)) = ways.pop() {
        if let Some(operation) = store.get(&name).filter(|_| seen.insert(name)) {
            needed.extend(operation.rights.iter().map(|right| (*right, way.clone())));
            ways.extend(operation.calls.iter().map(|call| (call.clone(), format!("{way} > {call}"))));
        }
    }
    needed
}

/// What the template allows a function, each once.
fn allowed(function: &str, properties: &Value) -> BTreeSet<(String, String)> {
    let mut allowed = BTreeSet::new();
    let policies = properties["Policies"].as_array().into_iter().flatten();
    for statement in policies.flat_map(|policy| policy["Statement"].as_array().unwrap()) {
        assert_eq!(statement["Effect"], "Allow");
        let resource = &statement["Resource"];
        let resource =
            resource["GetAtt"].as_str().and_then(|name| name.strip_suffix(".Arn")).or(resource["Ref"].as_str());
        let resource = resource.or(statement["Resource"]["Sub"].as_str());
        if resource == Some(IDENTITIES) {
            let sender = &statement["Condition"]["StringEquals"]["ses:FromAddress"];
            assert_eq!(sender["Ref"], "EmailSender", "any address may be written from");
        }
        for action in statement["Action"].as_array().unwrap() {
            let right = (action.as_str().unwrap().to_owned(), resource.unwrap().to_owned());
            assert!(!allowed.contains(&right), "{function} is allowed twice: {right:?}");
            allowed.insert(right);
        }
    }
    allowed
}

#[test]
fn every_function_may_do_what_its_code_does_and_nothing_else() {
    let store = store();
    let mut faults = Vec::new();
    for function in Template::load().functions() {
        let allowed = allowed(&function.name, function.properties());
        let needed = needed(&store, calls(&tree::code(&format!("functions/{}/src", function.name))));
        let variables = &function.properties()["Environment"]["Variables"];
        let secrets = SECRETS.iter().filter(|(variable, _)| !variables[variable].is_null());
        let secrets: Vec<_> = secrets.map(|(_, id)| *id).collect();
        let mut rights = BTreeMap::new();
        for ((right, name), way) in &needed {
            let table = RESOURCES.iter().find(|(known, _)| known == name).map(|(_, id)| *id);
            let others = || if *name == EMAIL { vec![IDENTITIES] } else { secrets.clone() };
            let resources = table.map_or_else(others, |table| vec![table]);
            assert!(!resources.is_empty(), "{}: which {name}?", function.name);
            rights.extend(resources.into_iter().map(|id| (((*right).to_owned(), id.to_owned()), way)));
        }
        let unused = allowed.iter().filter(|right| !rights.contains_key(right));
        faults.extend(unused.map(|right| format!("{} may and does not: {right:?}", function.name)));
        let refused = rights.iter().filter(|(right, _)| !allowed.contains(right));
        faults.extend(refused.map(|(right, way)| format!("{} does and may not: {right:?}, by {way}", function.name)));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn operations_are_found_through_calls_and_across_lines() {
    let rights_of = |text: &str| rights("test", text);
    let put =
        ".put_item()\n    .table_name(&self\n.tables.ledger).send(); Update::builder().table_name(&tables.accounts)";
    assert_eq!(rights_of(put), BTreeSet::from([("dynamodb:PutItem", "ledger"), ("dynamodb:UpdateItem", "accounts")]));
    let leaf = Operation { rights: rights_of(put), calls: BTreeSet::new() };
    let caller = Operation { rights: BTreeSet::new(), calls: calls("self.append(entry).await") };
    let store = BTreeMap::from([(".append".to_owned(), leaf), (".settle".to_owned(), caller)]);
    assert_eq!(needed(&store, calls("app\n    .store\n    .settle(now)")).len(), 2);
    assert_eq!(needed(&store, calls("builder.settle(now); append(entry)")).len(), 0);
}
