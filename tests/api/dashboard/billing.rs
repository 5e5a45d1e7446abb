//! Billing: the figures, topping up, the transactions and their receipts, and the banner of a low balance.

use gateway_core::{
    ids::{AccountId, RequestId},
    ledger::EntryKind,
    money::Nanos,
    people::{Email, LinkKind, Role, User},
};
use gateway_store::{Credit, random};
use http::Method;
use support::{Answer, Browser, Folder, MODEL, Reply, START, Stripe, TestGateway};

use crate::payments::taking_payments;

const BILLING: &str = "/dashboard/billing";
const TOP_UP: &str = "/dashboard/billing/top-up";
const CSV: &str = "/dashboard/billing/transactions.csv";
const RECEIPTS: &str = "/dashboard/billing/receipts";
const HTML: &str = "<script>alert('x')</script>";

/// A browser that is signed in as a member of the first account, who is none of its owners.
async fn member(gateway: &TestGateway) -> Browser {
    let path = gateway.link(LinkKind::Invitation, "member@b.example").await;
    let browser = gateway.browser();
    let password = "a long enough one";
    let answer = browser.fill(&path, &[("password", password)]).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    browser
}

/// What stands behind a mark in a page, up to a quote.
fn behind<'a>(page: &'a Answer, mark: &str) -> &'a str {
    page.text.split_once(mark).unwrap_or_else(|| panic!("{mark}: {}", page.text)).1.split('"').next().unwrap()
}

fn once(page: &Answer) -> String {
    behind(page, "name=\"once\" value=\"").to_owned()
}

/// Sends the form with which one tops up, as it stands in `page`.
async fn top_up(browser: &Browser, page: &Answer, amount: &str) -> Answer {
    browser.submit(page, TOP_UP, &[("once", &once(page)), ("amount", amount)]).await
}

/// The figure of this name.
fn figure<'a>(page: &'a Answer, name: &str) -> &'a str {
    let after =
        page.text.split_once(&format!("<dt>{name}</dt><dd>")).unwrap_or_else(|| panic!("{name}: {}", page.text)).1;
    after.split('<').next().unwrap()
}

/// Adds an entry of this kind to the gateway's account, and says which.
async fn entry(gateway: &TestGateway, kind: EntryKind, amount: Nanos, description: &str) -> RequestId {
    entry_of(gateway, &gateway.account, kind, amount, description).await
}

/// Adds an entry of this kind to the account, and says which.
pub(super) async fn entry_of(
    gateway: &TestGateway,
    account: &AccountId,
    kind: EntryKind,
    amount: Nanos,
    description: &str,
) -> RequestId {
    let id = RequestId::new(gateway.clock().now(), random().unwrap());
    let credit = Credit { id: id.clone(), kind, amount, description: description.to_owned() };
    assert!(gateway.store().account_credit(account, &credit).await.unwrap());
    id
}

async fn chat(gateway: &TestGateway) -> Nanos {
    assert_eq!(gateway.proxy.post("/v1/chat/completions", &TestGateway::chat(MODEL)).await.status, 200);
    gateway.gateway.idle().await;
    gateway.charged().await
}

#[tokio::test]
async fn the_figures_are_those_of_the_books() {
    let gateway = TestGateway::with_credit("12.5").await;
    let browser = gateway.signed_in().await;
    let charged = chat(&gateway).await;
    assert!(charged > Nanos::ZERO);
    let left = Nanos::parse_usd("12.5").unwrap() - charged;
    for path in [BILLING, "/dashboard"] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{}", page.text);
        assert_eq!(figure(&page, "Balance"), format!("{left} USD"), "{path}");
        assert_eq!(figure(&page, "Available"), format!("{left} USD"), "{path}");
        assert_eq!(figure(&page, "Held for running requests"), "0.00 USD", "{path}");
        assert_eq!(figure(&page, "Spent this month (UTC)"), format!("{charged} USD"), "{path}");
    }
    // Summed up or not, it is the same; and a new month begins with nothing.
    gateway.clock().advance_ms(120_000);
    gateway.gateway.rollup().await;
    let page = browser.get("/dashboard").await;
    assert_eq!(figure(&page, "Spent this month (UTC)"), format!("{charged} USD"));
    assert_eq!(figure(&page, "Requests today (UTC)"), "1");
    gateway.clock().advance_ms(86_400_000);
    let page = browser.get("/dashboard").await;
    assert_eq!(figure(&page, "Requests today (UTC)"), "0");
    assert_eq!(figure(&page, "Spent this month (UTC)"), format!("{charged} USD"));
    gateway.clock().advance_ms(6 * 86_400_000);
    assert_eq!(figure(&browser.get(BILLING).await, "Spent this month (UTC)"), format!("{charged} USD"));
    gateway.clock().advance_ms(86_400_000);
    let browser = gateway.signed_in().await;
    assert_eq!(figure(&browser.get(BILLING).await, "Spent this month (UTC)"), "0.00 USD");
}

#[tokio::test]
async fn where_payments_are_not_set_up_the_page_says_so_and_has_no_button() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let page = browser.get(BILLING).await;
    assert!(page.text.contains("Payments are not set up here."), "{}", page.text);
    assert!(!page.text.contains(TOP_UP));
    let answer = browser.submit(&page, TOP_UP, &[("amount", "5")]).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.text.contains("your operator has to look at it"), "{}", answer.text);
}

#[tokio::test]
async fn a_top_up_is_a_link_to_stripe_s_page_and_credits_nothing_before_stripe_says_so() {
    let (gateway, stripe) = taking_payments().await;
    let browser = gateway.signed_in().await;
    let page = browser.get(BILLING).await;
    let answer = top_up(&browser, &page, " 25.5 ").await;
    let [session] = stripe.sessions().try_into().unwrap();
    assert_eq!((answer.status, session.amount), (200, 2550), "{}", answer.text);
    assert_eq!(session.field("metadata[account]"), gateway.account.as_str());
    let site = &gateway.gateway.url;
    assert_eq!(session.field("success_url"), format!("{site}{BILLING}?checkout=success"));
    assert_eq!(session.field("cancel_url"), format!("{site}{BILLING}?checkout=cancelled"));
    let url = format!("{}/pay/{}", stripe.url, session.id);
    assert!(
        answer.text.contains(&format!("<a class=\"button\" href=\"{url}\">Continue to Stripe</a>")),
        "{}",
        answer.text
    );
    assert!(answer.text.contains("<h1>Pay 25.50 USD</h1>") && answer.headers.get("hx-redirect").is_none());

    let back = browser.get(&format!("{BILLING}?checkout=success")).await;
    assert_eq!(figure(&back, "Balance"), "5.00 USD");
    assert!(back.text.contains("when Stripe confirms the payment"), "{}", back.text);
    assert!(browser.get(&format!("{BILLING}?checkout=cancelled")).await.text.contains("Nothing was paid."));
    assert_eq!(stripe.deliver(&stripe.paid(&session)).await.status, 200);
    let page = browser.get(BILLING).await;
    assert_eq!(figure(&page, "Balance"), "30.50 USD");
    let row = format!("</time></th><td>Payment</td><td>Payment {}</td>", session.payment);
    assert!(page.text.contains(&row), "{}", page.text);
}

#[tokio::test]
async fn a_script_that_tops_up_is_sent_on_to_stripe_without_a_click() {
    let (gateway, stripe) = taking_payments().await;
    let browser = gateway.signed_in().await;
    let page = browser.get(BILLING).await;
    let token = behind(&page, "name=\"csrf\" value=\"").to_owned();
    assert!(page.text.contains("hx-disable=\"find button\""), "{}", page.text);
    let form = browser.form(TOP_UP, &[("csrf", &token), ("once", &once(&page)), ("amount", "5")]);
    let answer = browser.send(form.header("hx-request", "true")).await;
    let url = format!("{}/pay/{}", stripe.url, stripe.sessions()[0].id);
    assert_eq!((answer.status, answer.header("hx-redirect")), (200, url.as_str()));
}

#[tokio::test]
async fn a_form_sent_twice_makes_one_payment_and_another_one_another() {
    let (gateway, stripe) = taking_payments().await;
    let browser = gateway.signed_in().await;
    let page = browser.get(BILLING).await;
    let (one, two) = tokio::join!(top_up(&browser, &page, "5"), top_up(&browser, &page, "5.00"));
    assert_eq!((one.status, two.status, stripe.sessions().len()), (200, 200, 1));
    assert_eq!(top_up(&browser, &page, "6").await.status, 200);
    assert_eq!(stripe.sessions().len(), 2, "another amount");
    let again = browser.get(BILLING).await;
    assert_eq!(top_up(&browser, &again, "5").await.status, 200);
    assert_eq!(stripe.sessions().len(), 3, "another page");
    for _ in 0..2 {
        assert_eq!(browser.submit(&page, TOP_UP, &[("amount", "5")]).await.status, 200);
    }
    assert_eq!(stripe.sessions().len(), 5, "without the value each is one of its own");
}

#[tokio::test]
async fn an_amount_that_can_t_be_topped_up_is_said_beside_what_was_typed_and_nobody_is_asked() {
    let (gateway, stripe) = taking_payments().await;
    let browser = gateway.signed_in().await;
    let page = browser.get(BILLING).await;
    for amount in ["", "0.99", "10000.01", "5.001", "5,00", "-5", "1e3", "\"><b>"] {
        let answer = top_up(&browser, &page, amount).await;
        assert_eq!(answer.status, 422, "{amount}");
        assert!(answer.text.contains("Enter an amount from 1.00 to 10000.00 USD"), "{amount}: {}", answer.text);
        assert!(answer.text.contains("aria-invalid=\"true\"") && !answer.text.contains("<b>"), "{amount}");
        let typed = amount.replace('"', "&#34;").replace('<', "&#60;").replace('>', "&#62;");
        assert!(
            answer.text.contains(&format!("value=\"{typed}\" aria-describedby=\"amount-hint problem\"")),
            "{amount}"
        );
    }
    assert!(stripe.seen().is_empty());
}

#[tokio::test]
async fn a_failure_is_a_page_that_says_that_nothing_was_paid_and_whether_to_try_again() {
    let (gateway, stripe) = taking_payments().await;
    let browser = gateway.signed_in().await;
    let page = browser.get(BILLING).await;
    let (ours, stripe_s) = ("your operator has to look at it", "Try again in a minute.");
    for (status, says, other) in
        [(400, ours, stripe_s), (401, ours, stripe_s), (403, ours, stripe_s), (500, stripe_s, ours)]
    {
        // It is asked again where that may help.
        for _ in 0..if status == 500 { 2 } else { 1 } {
            stripe.will(Reply::Json(status, r#"{"error":{"message":"marked words"}}"#.to_owned()));
        }
        let answer = top_up(&browser, &page, "5").await;
        assert_eq!(answer.status, 502, "{status}");
        assert!(answer.text.contains("Nothing was paid.") && !answer.text.contains("marked"), "{}", answer.text);
        assert!(answer.text.contains(says) && !answer.text.contains(other), "{status}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_member_sees_the_money_and_moves_none() {
    let (gateway, stripe) = taking_payments().await;
    let browser = member(&gateway).await;
    let page = browser.get(BILLING).await;
    assert_eq!((page.status, figure(&page, "Balance")), (200, "5.00 USD"));
    assert!(!page.text.contains(TOP_UP) && !page.text.contains("name=\"threshold\""), "{}", page.text);
    for (path, fields) in [(TOP_UP, [("amount", "5")]), (BILLING, [("threshold", "5")])] {
        let answer = browser.submit(&page, path, &fields).await;
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.text.contains("Only an owner can do that"), "{path}: {}", answer.text);
    }
    assert!(stripe.seen().is_empty() && gateway.standing().await.account.low_balance.is_none());
}

#[tokio::test]
async fn transactions_are_given_newest_first_and_page_by_page() {
    let gateway = TestGateway::with_credit("0").await;
    let browser = gateway.signed_in().await;
    let page = browser.get(BILLING).await;
    assert!(page.text.contains("No transactions yet.") && !page.text.contains("<table"), "{}", page.text);
    for number in 0..60 {
        gateway.clock().advance_ms(1);
        entry(&gateway, EntryKind::Adjustment, Nanos::usd(1), &format!("number {number}.")).await;
    }
    let (mut path, mut seen) = (BILLING.to_owned(), Vec::new());
    for rows in [25, 25, 10] {
        let page = browser.get(&path).await;
        let found: Vec<_> =
            page.text.split("<td>number ").skip(1).map(|rest| rest.split('.').next().unwrap()).collect();
        assert_eq!(found.len(), rows, "{path}");
        seen.extend(found.iter().map(|number| number.parse::<u32>().unwrap()));
        assert_eq!(page.text.contains(">Newest</a>"), path != BILLING);
        if seen.len() < 60 {
            path = format!("{BILLING}?cursor={}", behind(&page, &format!("{BILLING}?cursor=")));
        } else {
            assert!(!page.text.contains(">Older</a>"), "{}", page.text);
        }
    }
    assert_eq!(seen, (0..60).rev().collect::<Vec<_>>());
    for wrong in ["x", "%3Cb%3E"] {
        assert_eq!(browser.get(&format!("{BILLING}?cursor={wrong}")).await.status, 404, "{wrong}");
    }
}

#[tokio::test]
async fn the_file_has_every_transaction_and_no_formula() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    gateway.clock().advance_ms(1000);
    let id = entry(&gateway, EntryKind::Payment, Nanos::usd(20), "=HYPERLINK(\"x\"), y").await;
    gateway.clock().advance_ms(1000);
    let charged = chat(&gateway).await;
    for number in 0..1_200 {
        let id = RequestId::new(START, [0; 10].map(|_| u8::try_from(number % 251).unwrap()));
        let id = RequestId::of_platform(id.at(), &number.to_string());
        let credit = Credit { id, kind: EntryKind::Adjustment, amount: Nanos(1), description: String::new() };
        assert!(gateway.store().account_credit(&gateway.account, &credit).await.unwrap());
    }
    let file = browser.get(CSV).await;
    assert_eq!((file.status, file.header("content-type")), (200, "text/csv; charset=utf-8"));
    assert_eq!(file.header("content-disposition"), "attachment; filename=\"transactions.csv\"");
    assert_eq!(file.header("cache-control"), "no-store");
    let lines: Vec<_> = file.text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (1_204, "id,created_at,type,amount,description"));
    assert!(lines[1].ends_with(&format!(",2026-11-23T09:30:02.000Z,usage,-{charged},{MODEL} (key 1)")), "{}", lines[1]);
    assert_eq!(lines[2], format!("{id},2026-11-23T09:30:01.000Z,payment,20.00,\"'=HYPERLINK(\"\"x\"\"), y\""));
}

#[tokio::test]
async fn a_payment_a_refund_and_a_dispute_have_receipts_that_name_them() {
    let (gateway, stripe) = taking_payments().await;
    let browser = gateway.signed_in().await;
    let page = browser.get(BILLING).await;
    top_up(&browser, &page, "20").await;
    let session = &stripe.sessions()[0];
    for step in 0..3 {
        gateway.clock().advance_ms(60_000);
        let event = match step {
            0 => stripe.paid(session),
            1 => stripe.refunded(session, 500),
            _ => stripe.disputed(session, "funds_withdrawn", 1500),
        };
        assert_eq!(stripe.deliver(&event).await.status, 200);
    }
    let page = browser.get(BILLING).await;
    let link = format!("{RECEIPTS}/");
    let links: Vec<_> = page.text.split(&link).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    let [disputed, refunded, paid] = links.try_into().unwrap();
    let dispute = format!("dp_of_{}", session.payment);
    for (entry, title, amount, names) in [
        (&paid, "Receipt", "20.00 USD", vec![session.payment.as_str(), "<dd>5.00 USD</dd>", dispute.as_str()]),
        (&refunded, "Refund", "5.00 USD", vec![session.payment.as_str()]),
        (&disputed, "Payment disputed", "15.00 USD", vec![session.payment.as_str(), dispute.as_str()]),
    ] {
        let receipt = browser.get(&format!("{RECEIPTS}/{entry}")).await;
        assert_eq!(receipt.status, 200, "{title}");
        assert!(receipt.text.contains(&format!("<h1>{title}</h1>")), "{title}: {}", receipt.text);
        assert_eq!(figure(&receipt, "Amount"), amount, "{title}");
        assert_eq!(figure(&receipt, "Account number"), gateway.account.as_str());
        assert_eq!(figure(&receipt, "Transaction"), entry.as_str());
        for name in names {
            assert!(receipt.text.contains(name), "{title}: {name}: {}", receipt.text);
        }
        assert!(!receipt.text.to_lowercase().contains("tax"), "{title}");
    }
}

#[tokio::test]
async fn what_is_no_payment_or_of_another_account_has_no_receipt() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let gift = entry(&gateway, EntryKind::Adjustment, Nanos::usd(1), "Free credit").await;
    let other = gateway.store().account_create("other", gateway.clock().now()).await.unwrap().id;
    let foreign = entry_of(&gateway, &other, EntryKind::Payment, Nanos::usd(1), "Payment pi_x").await;
    chat(&gateway).await;
    let page = browser.get(BILLING).await;
    assert!(!page.text.contains(RECEIPTS), "{}", page.text);
    for id in [gift.as_str(), foreign.as_str(), "0", &"0".repeat(26), "%3Cb%3E", ".."] {
        assert_eq!(browser.get(&format!("{RECEIPTS}/{id}")).await.status, 404, "{id}");
    }
    // A cursor of another account's only says from when on.
    let after = browser.get(&format!("{BILLING}?cursor={foreign}")).await;
    assert!(after.status == 200 && !after.text.contains("pi_x"), "{}", after.text);
}

#[tokio::test]
async fn a_receipt_names_no_payment_of_another_account_whatever_an_entry_says() {
    let (gateway, stripe) = taking_payments().await;
    let browser = gateway.signed_in().await;
    let other = gateway.store().account_create("other", gateway.clock().now()).await.unwrap().id;
    let session = order_for(&gateway, &stripe, other.as_str()).await;
    assert_eq!(stripe.deliver(&stripe.paid(&session)).await.status, 200);
    assert_eq!(stripe.deliver(&stripe.refunded(&session, 700)).await.status, 200);
    let id = entry(&gateway, EntryKind::Payment, Nanos::usd(1), &format!("Payment {}", session.payment)).await;
    let receipt = browser.get(&format!("{RECEIPTS}/{id}")).await;
    assert!(receipt.status == 200 && !receipt.text.contains("7.00 USD"), "{}", receipt.text);
}

/// A session like one that the other account ordered.
async fn order_for(gateway: &TestGateway, stripe: &Stripe, account: &str) -> support::stripe::Session {
    let body = serde_json::json!({"amount": 20, "return_url": "https://app.example/"});
    assert_eq!(gateway.billing.post("/api/payments", &body).await.status, 201);
    let mut session = stripe.sessions().pop().unwrap();
    for field in ["metadata[account]", "payment_intent_data[metadata][account]", "client_reference_id"] {
        session.fields.insert(field.to_owned(), account.to_owned());
    }
    session
}

#[tokio::test]
async fn words_of_others_are_shown_as_text() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let id = entry(&gateway, EntryKind::Payment, Nanos::usd(1), HTML).await;
    for path in [BILLING.to_owned(), format!("{RECEIPTS}/{id}")] {
        let page = browser.get(&path).await;
        assert!(page.status == 200 && !page.text.contains("<script>"), "{path}: {}", page.text);
        assert!(page.text.contains("&#60;script&#62;"), "{path}");
    }
    for query in ["checkout", "notice"] {
        let page = browser.open_with(BILLING, &[(query, HTML)]).await;
        assert!(page.status == 200 && !page.text.contains("<script>alert"), "{query}");
    }
}

#[tokio::test]
async fn an_account_s_name_is_shown_as_text() {
    let gateway = TestGateway::start().await;
    let (store, at) = (gateway.store(), gateway.clock().now());
    let account = store.account_create(HTML, at).await.unwrap().id;
    let email = Email::parse("ada@b.example").unwrap();
    assert!(store.user_create(&User::new(email.clone(), account.clone(), Role::Owner, at)).await.unwrap());
    let browser = gateway.browser();
    assert_eq!(browser.fill(&gateway.link(LinkKind::SignIn, email.as_str()).await, &[]).await.status, 303);
    let id = entry_of(&gateway, &account, EntryKind::Payment, Nanos::usd(1), "Payment pi_1").await;
    for path in ["/dashboard".to_owned(), format!("{RECEIPTS}/{id}")] {
        let page = browser.get(&path).await;
        assert!(page.status == 200 && !page.text.contains("<script>"), "{path}: {}", page.text);
        assert!(page.text.contains("&#60;script&#62;alert(&#39;x&#39;)&#60;/script&#62;"), "{path}: {}", page.text);
    }
}

/// Saves a threshold and an address.
async fn tell(browser: &Browser, threshold: &str, email: &str) -> Answer {
    browser.fill(BILLING, &[("threshold", threshold), ("email", email)]).await
}

#[tokio::test]
async fn a_banner_is_on_every_page_while_the_balance_is_below_the_threshold() {
    let gateway = TestGateway::with_credit("5").await;
    let browser = gateway.signed_in().await;
    let banner = "Your balance of 5.00 USD is below 5.01 USD.";
    let shown = async |page: &str| browser.get(page).await.text.contains(banner);
    assert!(!shown(BILLING).await, "nobody asked for it");
    let saved = tell(&browser, "5", "").await;
    assert_eq!((saved.status, saved.header("location")), (303, "/dashboard/billing?notice=low-balance"));
    assert!(!shown(BILLING).await, "the balance is not below it");
    assert_eq!(tell(&browser, "5.01", "").await.status, 303);
    for page in [BILLING, "/dashboard", super::SECURITY, "/dashboard/nowhere"] {
        assert!(shown(page).await, "{page}");
    }
    assert!(browser.get(BILLING).await.text.contains("value=\"5.01\""));
    assert!(!gateway.browser().get(super::SIGN_IN).await.text.contains("Your balance"));
    gateway.credit("0.01", EntryKind::Payment).await;
    assert!(!browser.get(BILLING).await.text.contains("Your balance of"));
    assert_eq!(tell(&browser, "", "").await.status, 303);
    assert_eq!(gateway.standing().await.account.low_balance, None);
}

#[tokio::test]
async fn a_threshold_or_an_address_that_is_none_is_said_beside_what_was_typed() {
    let folder = Folder::new();
    let gateway = TestGateway::start_with(|options| options.mail = Some(folder.path("mail"))).await;
    let browser = gateway.signed_in().await;
    for (threshold, email, problem) in [
        ("0", "", "Enter an amount in USD up to 1000000.00"),
        ("5 USD", "", "Enter an amount in USD up to 1000000.00"),
        ("5", "nobody", "Enter a full email address"),
        ("5", "a@b.example\r\nbcc: c@d.example", "Enter a full email address"),
        ("", "a@b.example", "Enter the balance below which"),
        ("<b>", "\"><i>@b.example", "Enter an amount in USD"),
    ] {
        let answer = tell(&browser, threshold, email).await;
        assert_eq!(answer.status, 422, "{threshold} {email}");
        assert!(answer.text.contains(problem) && answer.text.contains("aria-invalid=\"true\""), "{}", answer.text);
        assert!(!answer.text.contains("<b>") && !answer.text.contains("<i>"), "{threshold} {email}");
        assert_eq!(gateway.standing().await.account.low_balance, None);
    }
    assert_eq!(tell(&browser, "5", "Ada@B.example").await.status, 303);
    let page = browser.get(BILLING).await;
    assert!(page.text.contains("value=\"ada@b.example\"") && page.text.contains("value=\"5.00\""), "{}", page.text);
}

#[tokio::test]
async fn where_no_emails_are_sent_the_page_says_so_and_asks_for_no_address() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let page = browser.get(BILLING).await;
    assert!(
        page.text.contains("Email alerts are not set up here") && !page.text.contains("name=\"email\""),
        "{}",
        page.text
    );
    assert_eq!(tell(&browser, "5", "a@b.example").await.status, 303);
    assert_eq!(gateway.standing().await.account.low_balance.unwrap().email, None);
    assert_eq!(browser.request(Method::GET, BILLING).send().await.unwrap().status(), 200);
}
