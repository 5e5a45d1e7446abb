//! The authorizer's answers: what a policy allows, and how long it is remembered.
//!
//! As at API Gateway, one remembered policy serves every route of its token, so a policy that names too little or too much
//! shows here as it would there. No token is kept, only its hash.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use aws_lambda_events::{
    event::apigw::ApiGatewayCustomAuthorizerResponse,
    iam::{IamPolicyEffect, IamPolicyStatement},
};
use gateway_core::moment::UnixMs;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// More tokens than a machine of one user sees; past it all is forgotten, which costs one more question each.
const MOST_ENTRIES: usize = 10_000;

/// What the authorizer answered about one token.
#[derive(Debug, PartialEq, Eq)]
pub struct Policy {
    statements: Vec<IamPolicyStatement>,
    /// Whom the policy is about.
    pub principal: String,
    /// What it says of the caller; API Gateway hands all of it on as texts.
    pub context: BTreeMap<String, String>,
}

impl Policy {
    /// The policy in an authorizer's answer.
    pub fn of(answer: ApiGatewayCustomAuthorizerResponse) -> Self {
        let context = match answer.context {
            Value::Object(fields) => {
                fields.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect()
            }
            _ => BTreeMap::new(),
        };
        Self {
            statements: answer.policy_document.statement,
            principal: answer.principal_id.unwrap_or_default(),
            context,
        }
    }

    /// Whether it allows to invoke this method: a Deny wins, and what nothing allows is denied.
    pub fn allows(&self, method_arn: &str) -> bool {
        let concerns = |statement: &&IamPolicyStatement| {
            statement.action.iter().any(|action| matches(action, "execute-api:Invoke"))
                && statement.resource.iter().any(|resource| matches(resource, method_arn))
        };
        let concerning: Vec<_> = self.statements.iter().filter(concerns).collect();
        !concerning.is_empty() && concerning.iter().all(|statement| statement.effect == IamPolicyEffect::Allow)
    }
}

/// Strings, numbers and booleans are what a context may hold.
fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Whether `text` is what the pattern says: `*` is any characters, `?` any one.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last star was, and how much it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// What stands for a token here.
type TokenDigest = [u8; 32];

/// Policies for as long as the template lets API Gateway keep them.
#[derive(Debug)]
pub struct PolicyCache {
    ttl_ms: u64,
    entries: Mutex<HashMap<TokenDigest, (UnixMs, Arc<Policy>)>>,
}

impl PolicyCache {
    /// An empty one that keeps policies for so long; 0: not at all.
    pub fn new(ttl_ms: u64) -> Self {
        Self { ttl_ms, entries: Mutex::default() }
    }

    /// The policy of this header's value, if it is still good.
    pub fn find(&self, header: &[u8], now: UnixMs) -> Option<Arc<Policy>> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (expires, policy) = entries.get(&digest(header))?;
        (now < *expires).then(|| policy.clone())
    }

    /// Remembers the policy of this header's value.
    pub fn keep(&self, header: &[u8], policy: Arc<Policy>, now: UnixMs) {
        if self.ttl_ms == 0 {
            return;
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MOST_ENTRIES {
            entries.retain(|_, (expires, _)| now < *expires);
        }
        if entries.len() >= MOST_ENTRIES {
            entries.clear();
        }
        entries.insert(digest(header), (now.plus_ms(self.ttl_ms), policy));
    }
}

fn digest(header: &[u8]) -> TokenDigest {
    Sha256::digest(header).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:execute-api:us-east-1:123456789012:local/live/POST/v1/chat/completions";

    fn policy(statements: &[(&str, &str)]) -> Policy {
        let statements: Vec<_> = statements
            .iter()
            .map(|(effect, resource)| {
                serde_json::json!({"Action": "execute-api:Invoke", "Effect": effect, "Resource": resource})
            })
            .collect();
        let answer = serde_json::json!({
            "principalId": "acct",
            "policyDocument": {"Version": "2012-10-17", "Statement": statements},
            "context": {"account": "acct", "key": 3, "paid": true, "none": null},
        });
        Policy::of(serde_json::from_value(answer).unwrap())
    }

    #[test]
    fn a_policy_allows_what_it_names_and_nothing_else() {
        let proxy = policy(&[("Allow", "arn:aws:execute-api:us-east-1:123456789012:local/live/*/v1/*")]);
        assert!(proxy.allows(ARN));
        assert!(!proxy.allows("arn:aws:execute-api:us-east-1:123456789012:local/live/GET/api/balance"));
        assert!(!policy(&[]).allows(ARN), "what nothing allows is denied");
        assert!(!policy(&[("Allow", "*"), ("Deny", "*/POST/*")]).allows(ARN), "a Deny wins");
    }

    #[test]
    fn wildcards_match_as_iam_s_do() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbbcd", false),
            ("a*b*c", "aXbYbZc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "", true),
            ("abc", "ab", false),
            ("*/v1/*", "x/v1", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_context_is_handed_on_as_texts() {
        let context = policy(&[]).context;
        assert_eq!(context["key"], "3");
        assert_eq!(context["paid"], "true");
        assert!(!context.contains_key("none"));
    }

    #[test]
    fn a_policy_is_remembered_until_its_time_is_over() {
        let cache = PolicyCache::new(10_000);
        let kept = Arc::new(policy(&[]));
        cache.keep(b"Bearer x", kept.clone(), UnixMs(1000));
        assert_eq!(cache.find(b"Bearer x", UnixMs(10_999)), Some(kept.clone()));
        assert_eq!(cache.find(b"Bearer x", UnixMs(11_000)), None);
        assert_eq!(cache.find(b"Bearer y", UnixMs(1000)), None);
        let off = PolicyCache::new(0);
        off.keep(b"Bearer x", kept, UnixMs(1000));
        assert_eq!(off.find(b"Bearer x", UnixMs(1000)), None);
    }

    #[test]
    fn many_tokens_do_not_fill_the_memory() {
        let cache = PolicyCache::new(10_000);
        let kept = Arc::new(policy(&[]));
        for n in 0..=MOST_ENTRIES {
            cache.keep(&n.to_be_bytes(), kept.clone(), UnixMs(0));
        }
        assert_eq!(cache.entries.lock().unwrap().len(), 1);
    }
}
