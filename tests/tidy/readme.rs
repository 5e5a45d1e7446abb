//! What the README has to say of the template.

use std::collections::BTreeSet;

use crate::{
    template::{OPEN, Template},
    tree,
};

/// Whoever writes to the tables by itself goes on writing while no key opens anything any more.
#[test]
fn restoring_stops_whatever_writes_without_being_let_in_by_the_authorizer() {
    let template = Template::load();
    let writes = |function: &_| {
        let statements = serde_json::Value::from(template.statements(function).clone()).to_string();
        ["PutItem", "UpdateItem", "DeleteItem"].iter().any(|action| statements.contains(&format!("dynamodb:{action}")))
    };
    let functions = template.functions().into_iter();
    let by_itself =
        functions.filter(|function| OPEN.contains(&function.name.as_str()) || !function.triggers().is_empty());
    let mut expected: BTreeSet<_> = by_itself.filter(writes).map(|function| function.name).collect();
    expected.insert("authorizer".to_owned());
    let readme = tree::read("README.md");
    let loops = readme.split("for f in ").skip(1).map(|rest| rest.split_once(';').unwrap().0);
    let loops: Vec<BTreeSet<_>> = loops.map(|names| names.split(' ').map(str::to_owned).collect()).collect();
    assert_eq!(loops, [expected.clone(), expected]);
}
