//! The operator's command line, beside a gateway that serves from the same file.

use std::path::PathBuf;

use clap::Parser;
use gateway_core::people::{Email, Role, User};
use modelswitch::{Data, cli::Cli, operator};
use serde_json::{Value, json};
use support::{Client, Folder, TestGateway};

/// A gateway on a file, and commands on that file.
struct Operated {
    folder: Folder,
    gateway: TestGateway,
}

impl Operated {
    async fn start() -> Self {
        let folder = Folder::new();
        let gateway = TestGateway::start_with(|options| options.data = Data::File(folder.path("data.db"))).await;
        Self { folder, gateway }
    }

    fn data(&self) -> PathBuf {
        self.folder.path("data.db")
    }

    /// What a command line reports, as JSON and as text; or its error's words.
    async fn command(&self, line: &str) -> Result<(Value, String), String> {
        let data = self.data();
        let words = ["modelswitch", "--data", data.to_str().unwrap()].into_iter().chain(line.split(' '));
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        let report = operator::run(&cli.target, cli.command, modelswitch::echo()).await;
        let report = report.map_err(|problem| problem.to_string())?;
        Ok((serde_json::from_str(&report.json).unwrap(), report.text))
    }

    fn with(&self, token: &Value) -> Client {
        self.gateway.anonymous.with_token(token.as_str())
    }
}

#[tokio::test]
async fn an_account_is_made_credited_and_shown_to_the_nano_dollar() {
    let operated = Operated::start().await;
    let (made, _) = operated.command("account create --name Team --credit 20").await.unwrap();
    let id = made["id"].as_str().unwrap().to_owned();
    operated.command(&format!("account credit {id} 0.000000001 --reason rounding")).await.unwrap();
    let (shown, text) = operated.command(&format!("account show {id}")).await.unwrap();
    assert!(text.contains("20.000000001"), "{text}");
    assert_eq!(shown["id"], id.as_str());
    let (listed, text) = operated.command("account list").await.unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    assert!(text.contains("Team") && text.contains(&id), "{text}");
}

#[tokio::test]
async fn a_key_made_rotated_deactivated_and_deleted_is_so_for_the_running_gateway() {
    let operated = Operated::start().await;
    let path = "/v1/auth/key";
    let (made, text) = operated.command("key create --name laptop --spend-limit 5 --reset monthly").await.unwrap();
    let (token, id) = (&made["key"], &made["id"]);
    assert!(text.contains(token.as_str().unwrap()), "shown this once");
    assert_eq!(operated.with(token).get(path).await.json()["data"]["spend_limit_reset"], "monthly");
    let (listed, text) = operated.command("key list").await.unwrap();
    assert!(!text.contains(token.as_str().unwrap()) && !listed.to_string().contains(token.as_str().unwrap()));
    let (rotated, _) = operated.command(&format!("key rotate {id}")).await.unwrap();
    let fresh = &rotated["key"];
    assert_ne!(fresh, token);
    assert_eq!(operated.with(fresh).get(path).await.status, 200);
    assert_eq!(operated.with(token).get(path).await.status, 200, "the old one has its grace");
    operated.command(&format!("key deactivate {id}")).await.unwrap();
    operated.gateway.clock().advance_ms(10_000);
    assert_eq!(operated.with(fresh).get(path).await.error(), (403, "key_deactivated".to_owned()));
    operated.command(&format!("key delete {id}")).await.unwrap();
    operated.gateway.clock().advance_ms(10_000);
    assert_eq!(operated.with(fresh).get(path).await.status, 401);
}

#[tokio::test]
async fn a_user_is_invited_reset_listed_and_removed_by_links_that_are_shown_once() {
    let operated = Operated::start().await;
    let browser = operated.gateway.browser();
    let url = &operated.gateway.gateway.url;
    let path = |made: &Value| made["url"].as_str().unwrap().strip_prefix(url.as_str()).unwrap().to_owned();
    let line = format!("user invite Ada@Example.com --role member --url {url}/");
    let (invited, text) = operated.command(&line).await.unwrap();
    assert!(text.contains(invited["url"].as_str().unwrap()), "{text}");
    let (listed, text) = operated.command("user list").await.unwrap();
    assert!(text.contains("ada@example.com") && text.contains("invited"), "{text}");
    assert!(!listed.to_string().contains(invited["url"].as_str().unwrap().rsplit('/').next().unwrap()));
    let answer = browser.fill(&path(&invited), &[("password", "a few words in a row")]).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    assert_eq!(browser.user().await.as_deref(), Some("ada@example.com"));
    let (listed, _) = operated.command("user list").await.unwrap();
    assert_eq!((listed[0]["email"].as_str(), listed[0]["role"].as_str()), (Some("ada@example.com"), Some("member")));
    assert_eq!(listed[0]["signsInBy"], "password");
    let problem = operated.command(&line).await.unwrap_err();
    assert!(problem.contains("is a user already"), "{problem}");
    // Without --url it is this machine's usual address.
    let (earlier, _) = operated.command("user reset ada@example.com").await.unwrap();
    let (reset, _) = operated.command("user reset ada@example.com").await.unwrap();
    let earlier = earlier["url"].as_str().unwrap().strip_prefix("http://127.0.0.1:8787").unwrap();
    assert_eq!(
        operated.gateway.browser().get(earlier).await.status,
        404,
        "a new link takes the place of an earlier one"
    );
    let here = reset["url"].as_str().unwrap().strip_prefix("http://127.0.0.1:8787").unwrap().to_owned();
    assert_eq!(operated.gateway.browser().fill(&here, &[("password", "quite another one")]).await.status, 303);
    assert_eq!(browser.user().await, None, "a reset signs out everywhere");
    operated.command("user remove ada@example.com").await.unwrap();
    assert_eq!(operated.gateway.browser().get(&here).await.status, 404);
    let problem = operated.command("user reset ada@example.com").await.unwrap_err();
    assert!(problem.contains("there is no user ada@example.com"), "{problem}");
}

#[tokio::test]
async fn the_operator_is_told_of_an_address_that_nobody_checked() {
    let operated = Operated::start().await;
    let owner = |account| {
        let email = Email::parse("ada@example.com").unwrap();
        User { verified: false, ..User::new(email, account, Role::Owner, operated.gateway.clock().now()) }
    };
    let now = operated.gateway.clock().now();
    operated.gateway.store().user_sign_up("ada", now, owner).await.unwrap().unwrap();
    let (listed, text) = operated.command("user list").await.unwrap();
    assert!(text.contains("ada@example.com (not checked)"), "{text}");
    assert_eq!((&listed[0]["verified"], &listed[1]["verified"]), (&json!(false), &json!(true)), "{listed}");
    let line = format!("user invite ada@example.com --account {}", operated.gateway.account);
    let problem = operated.command(&line).await.unwrap_err();
    assert!(problem.contains("nobody checked") && problem.contains("user remove ada@example.com"), "{problem}");
    let (_, text) = operated.command("user reset ada@example.com").await.unwrap();
    assert!(text.contains("may hold the account's keys (0)"), "{text}");
}

#[tokio::test]
async fn settings_are_checked_before_they_are_stored_and_then_serve() {
    let operated = Operated::start().await;
    let file = operated.folder.path("settings.json");
    let path = file.to_str().unwrap();
    std::fs::write(&file, r#"{"models":{"x":{"price":{"input":"cheap"}}}}"#).unwrap();
    let refused = operated.command(&format!("config set {path}")).await.unwrap_err();
    assert!(refused.contains("models.x.price.input") && refused.contains(path), "{refused}");
    std::fs::write(&file, r#"{"markup_percent":10,"providers":{"openai":{}}}"#).unwrap();
    operated.command(&format!("config set {path}")).await.unwrap();
    let (stored, _) = operated.command("config show").await.unwrap();
    assert!(stored["providers"]["openai"].is_object(), "{stored}");
    let (_, text) = operated.command("models list").await.unwrap();
    // 0.15 USD a million and a tenth.
    let line = text.lines().find(|line| line.starts_with("gpt-4o-mini ")).unwrap();
    assert!(line.contains("0.165") && text.contains("modelswitch/echo"), "{line}");
}

#[tokio::test]
async fn what_cannot_be_done_is_said_with_what_to_change() {
    let operated = Operated::start().await;
    for (line, word) in [
        ("account show acct_0000000000000000", "acct_0000000000000000"),
        ("account credit acct_0000000000000000 5 --reason x", "acct_0000000000000000"),
        ("account show nonsense", "nonsense"),
        ("account create --name x --credit -5", "-5"),
        ("key rotate 99", "99"),
        ("user invite nonsense", "nonsense"),
        ("user invite ada@example.com --role king", "king"),
        ("user invite ada@example.com --account acct_0000000000000000", "acct_0000000000000000"),
        ("user remove nobody@example.com", "nobody@example.com"),
        ("key delete 99", "99"),
        ("key create --name x --reset yearly", "yearly"),
        ("key create --name x --rate-limit 5", "5"),
        ("config set /nowhere/settings.json", "/nowhere/settings.json"),
    ] {
        let problem = operated.command(line).await.unwrap_err();
        assert!(problem.contains(word), "{line}: {problem}");
    }
}
