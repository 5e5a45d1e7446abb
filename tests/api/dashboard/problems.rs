//! What is wrong with a form is said at the fields that are at fault, and at no other.

use support::{Answer, Folder, TestGateway};

use super::{SECURITY, SIGN_IN, links};

const PASSWORD: &str = "a few words in a row";

/// The name of a field, whose tag this is.
fn name(tag: &str) -> &str {
    tag.split_once(" name=\"").unwrap().1.split('"').next().unwrap()
}

/// The page says what is wrong, with these fields alone; the first of them has the focus.
fn is_at(page: &Answer, fields: &[&str], what: &str) {
    assert_eq!(page.status, 422, "{what}: {}", page.text);
    assert!(page.text.contains("<title>Error: "), "{what}: {}", page.text);
    assert!(page.text.contains("<p class=\"problem\" id=\"problem\" role=\"alert\">"), "{what}: {}", page.text);
    let tags: Vec<_> = page.text.split('<').filter_map(|part| part.split('>').next()).collect();
    let marked = |mark: &str| tags.iter().filter(|tag| tag.contains(mark)).map(|tag| name(tag)).collect::<Vec<_>>();
    let mut at_fault = fields.to_vec();
    at_fault.sort_unstable();
    for mark in [" aria-invalid=\"true\"", "problem\" aria-invalid"] {
        let mut marked = marked(mark);
        marked.sort_unstable();
        assert_eq!(marked, at_fault, "{what}: {mark}: {}", page.text);
    }
    assert_eq!(marked(" autofocus"), &fields[..fields.len().min(1)], "{what}: {}", page.text);
}

#[tokio::test]
async fn before_one_is_signed_in_each_problem_is_at_its_own_field() {
    let gateway = TestGateway::start_with(|options| options.sign_up = true).await;
    let known = "owner@localhost";
    for (path, email, password, fields) in [
        (SIGN_IN, "ada", "x", vec!["email"]),
        // Which of the two is wrong is not said.
        (SIGN_IN, "ada@example.com", "wrong", vec!["password", "email"]),
        ("/dashboard/sign-up", "ada", PASSWORD, vec!["email"]),
        ("/dashboard/sign-up", "ada@example.com", "short", vec!["password"]),
        ("/dashboard/sign-up", "ada@example.com", "password123", vec!["password"]),
        ("/dashboard/sign-up", known, PASSWORD, vec!["email"]),
    ] {
        let page = gateway.browser().fill(path, &[("email", email), ("password", password)]).await;
        is_at(&page, &fields, &format!("{path} {email} {password}"));
    }
    for path in [links::invitation(&gateway, "ada@example.com").await, links::reset(&gateway, known).await] {
        is_at(&gateway.browser().fill(&path, &[("password", "short")]).await, &["password"], &path);
    }
    let invited = links::invitation(&gateway, known).await;
    is_at(&gateway.browser().fill(&invited, &[("password", PASSWORD)]).await, &[], "no field's fault");
    let fine = gateway.browser().get(SIGN_IN).await.text;
    assert!(fine.contains("<title>Sign in") && !fine.contains("autofocus") && !fine.contains("aria-invalid"), "{fine}");
}

#[tokio::test]
async fn of_two_passwords_the_wrong_one_is_at_fault() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    assert_eq!(browser.fill(SECURITY, &[("password", PASSWORD)]).await.status, 303);
    for (current, new, field) in [("not that one", "quite another one", "current"), (PASSWORD, "short", "password")] {
        let page = browser.fill(SECURITY, &[("current", current), ("password", new)]).await;
        is_at(&page, &[field], field);
    }
}

#[tokio::test]
async fn each_filter_of_the_usage_has_its_own_problem() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    for (query, fields) in [
        ([("from", "yesterday"), ("to", "")], vec!["from"]),
        ([("from", "2026-11-01"), ("to", "today")], vec!["to"]),
        ([("from", "2026-11-24"), ("to", "2026-11-23")], vec!["to"]),
        ([("from", "2025-11-23"), ("to", "2026-11-24")], vec!["from", "to"]),
        ([("keyId", "one"), ("to", "")], vec!["keyId"]),
    ] {
        is_at(&browser.open_with("/dashboard/usage", &query).await, &fields, &format!("{query:?}"));
    }
}

#[tokio::test]
async fn a_key_s_and_billing_s_forms_give_the_field_at_fault_the_focus() {
    let folder = Folder::new();
    let gateway = TestGateway::start_with(|options| options.mail = Some(folder.path("mail"))).await;
    let browser = gateway.signed_in().await;
    let key = [("name", "ci"), ("requests", "0"), ("interval", "10s"), ("allow", "all")];
    for path in ["/dashboard/keys/new", "/dashboard/keys/1"] {
        is_at(&browser.fill(path, &key).await, &["requests"], path);
    }
    is_at(&browser.fill("/dashboard/keys/1/rotate", &[("grace", "")]).await, &["grace"], "rotate");
    for (threshold, email, field) in [("much", "", "threshold"), ("5", "nobody", "email")] {
        let page = browser.fill("/dashboard/billing", &[("threshold", threshold), ("email", email)]).await;
        is_at(&page, &[field], field);
    }
}
