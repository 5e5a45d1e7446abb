//! No token, prompt, answer or credential is ever printed: marked ones go through every route and failure, and all that
//! the process prints is searched for them.

use std::collections::HashMap;

use gateway_lambda::Clock;
use http::Method;
use serde_json::json;
use support::{Answer, Client, Process, Provider, Reply, TestGateway, process};

const TEST: &str = "secrets::the_gateway_as_a_process";
const CHAT: &str = "/v1/chat/completions";

#[test]
fn the_gateway_as_a_process() {
    process::run_if_asked();
}

/// A word that appears nowhere but where a test puts it.
fn marked(what: &str) -> String {
    let bytes: [u8; 8] = gateway_store::random().unwrap();
    format!("marked{what}{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn failures(answer: &str, credential: &str) -> Vec<Reply> {
    let error =
        |message: &str| json!({"error": {"message": message, "type": "x", "code": "y", "param": message}}).to_string();
    let both = format!("{answer} {credential}");
    let frame = |text: &str| format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": text}}]}));
    vec![
        Reply::Json(200, support::chat_answer(answer, 3, 2)),
        Reply::Stream(support::chat_stream(&[answer], 3, 2)),
        Reply::CutStream(vec![frame(answer)]),
        Reply::Stream(vec![frame(answer), format!("data: {}\n\n", error(&both))]),
        Reply::Json(400, error(&both)),
        Reply::Json(401, error(&both)),
        Reply::Json(401, error(&both)),
        Reply::Json(429, error(&both)),
        Reply::Json(500, error(&both)),
        Reply::Json(200, both.clone()),
        Reply::Json(404, both),
        Reply::Close,
        Reply::Garbage("nonsense"),
    ]
}

/// Asks for payments that Stripe refuses or fails at, quoting what it was sent, and delivers webhooks about a customer.
async fn pay(billing: &Client, stripe: &Provider, signer: &str, customer: &str, key: &str) {
    let quotes = json!({"error": {"message": format!("{key} {customer}"), "code": key, "param": customer}}).to_string();
    let session = json!({"id": "cs_1", "url": "https://checkout.example/", "customer_email": customer}).to_string();
    let refusals = [400, 401, 402, 500, 500, 429, 429, 200].map(|status| Reply::Json(status, quotes.clone()));
    for reply in refusals.into_iter().chain([Reply::Close, Reply::Garbage("nonsense"), Reply::Json(200, session)]) {
        stripe.will(reply);
    }
    let body = json!({"amount": 5, "return_url": format!("https://app.example/?{customer}")});
    for status in [502, 502, 502, 502, 503, 502, 502, 201] {
        let answer = billing.post("/api/payments", &body).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(!answer.text.contains(key) && !answer.text.contains(customer), "{}", answer.text);
    }
    assert_eq!(stripe.last().header("authorization"), Some(format!("Bearer {key}").as_str()));
    let now = Clock::system().now().seconds();
    for kind in ["customer.created", "checkout.session.completed", "charge.refunded"] {
        let object =
            json!({"id": customer, "metadata": {"account": customer}, "email": customer, "amount_refunded": customer});
        let event = json!({"id": "evt_1", "created": now, "type": kind, "data": {"object": object}}).to_string();
        for secret in [signer, "another"] {
            let header = support::stripe::sign(secret, now, &event);
            let request = billing.request(Method::POST, "/webhooks/stripe").header("stripe-signature", header);
            Answer::of(request.body(event.clone())).await;
        }
    }
}

/// A key, made with this idempotency key.
async fn new_key(billing: &Client, idempotency_key: &str) -> String {
    let request = billing.request(Method::POST, "/api/keys").header("idempotency-key", idempotency_key);
    let made = Answer::of(request.body(r#"{"name":"k"}"#)).await.json();
    made["key"].as_str().unwrap().to_owned()
}

async fn on_every_route(client: &Client, prompt: &str) {
    for path in ["/v1/models", "/v1/auth/key", "/api/balance", "/api/usage", "/api/usage/stats", "/api/usage/export"] {
        client.get(path).await;
    }
    for path in ["/api/transactions", "/api/keys", "/api/keys/1", "/nowhere", "/v1/models/lab/chat"] {
        client.get(path).await;
    }
    for path in ["/api/keys/3/rotate", "/api/keys/3"] {
        client.send(Method::POST, path, "{}").await;
    }
    let request = client.request(Method::GET, &format!("/v1/models?x={prompt}")).header("x-note", prompt);
    Answer::of(request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_marked_is_ever_printed() {
    let provider = Provider::start().await;
    let (prompt, answer, credential) = (marked("prompt"), marked("answer"), marked("credential"));
    let (stripe, stripe_key, signer, customer) =
        (Provider::start().await, marked("stripe"), marked("signer"), marked("customer"));
    let (address, stripe_url) = (format!("lab={}", provider.base_url), stripe.base_url.trim_end_matches("/v1"));
    let variables = HashMap::from([
        ("LAB_API_KEY", credential.as_str()),
        ("STRIPE_SECRET_KEY", &stripe_key),
        ("STRIPE_WEBHOOK_SECRET", &signer),
        ("RUST_LOG", "debug"),
    ]);
    let arguments = ["--ephemeral", "--provider", &address, "--stripe", stripe_url];
    let gateway = Process::start(TEST, &arguments, &variables);
    let (proxy, billing) = (gateway.client("proxy_key"), gateway.client("billing_key"));
    pay(&billing, &stripe, &signer, &customer, &stripe_key).await;
    let mut answers = Vec::new();
    for stream in [false, true] {
        for reply in failures(&answer, &credential) {
            provider.will(reply);
            let mut body = TestGateway::chat("lab/chat");
            body["messages"][0]["content"] = prompt.clone().into();
            body["user"] = prompt.clone().into();
            body["stream"] = stream.into();
            answers.push(proxy.post(CHAT, &body).await);
        }
    }
    assert_eq!(provider.last().header("authorization"), Some(format!("Bearer {credential}").as_str()));
    assert!(answers.iter().all(|answer| !answer.text.contains(&credential)), "a credential reached a client");
    let bad = [
        format!("{{\"model\":\"{prompt}\",\"messages\":[1]}}"),
        format!("{{\"model\":\"lab/chat\",\"messages\":\"{prompt}\"}}"),
        format!("{{\"model\":\"lab/chat\",\"messages\":[1],\"n\":\"{prompt}\"}}"),
        prompt.clone(),
    ];
    for body in &bad {
        for path in [CHAT, "/v1/embeddings"] {
            proxy.send(Method::POST, path, body).await;
        }
        billing.send(Method::POST, "/api/keys", body).await;
    }
    let unknown = marked("token");
    let token = new_key(&billing, &prompt).await;
    for client in [&proxy, &billing, &proxy.with_token(Some(&unknown)), &proxy.with_token(Some(&token))] {
        on_every_route(client, &prompt).await;
    }
    let tokens = ["proxy_key", "billing_key"].map(|key| gateway.ready[key].as_str().unwrap().to_owned());
    let (output, errors) = gateway.kill();
    let lines = errors.lines().filter(|line| line.contains(r#""message":"request""#)).count();
    assert!(lines > 60, "one line a request, {lines} seen:\n{errors}");
    for secret in [&prompt, &answer, &credential, &unknown, &token, &stripe_key, &signer, &customer] {
        assert!(!output.contains(secret.as_str()), "{secret} was printed");
        let found = errors.lines().find(|line| line.contains(secret.as_str()));
        assert_eq!(found, None, "{secret} was logged");
    }
    for token in &tokens {
        assert_eq!(output.matches(token.as_str()).count(), 1, "the first start prints its keys once");
        assert!(!errors.contains(&token[8..]), "a token was logged");
    }
}
