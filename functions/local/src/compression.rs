//! API Gateway's compression: whole answers of some size, for clients that say that they take it. It also knows `deflate`,
//! which every client that takes it takes `gzip` beside.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Either, Full};

use crate::api::Answer;

const GZIP: &str = "gzip";

/// The answer, compressed if it is whole, has at least so many bytes and the client takes it.
pub async fn compressed(answer: Response<gateway_lambda::Body>, request: &HeaderMap, least: Option<u64>) -> Answer {
    let long = least.zip(answer.body().size_hint().exact()).is_some_and(|(least, bytes)| bytes >= least);
    if !long || !takes_gzip(request) || answer.headers().contains_key(header::CONTENT_ENCODING) {
        return answer.map(Either::Left);
    }
    let (mut parts, body) = answer.into_parts();
    let Ok(whole) = body.collect().await;
    let whole = whole.to_bytes();
    let bytes = match gzip(&whole) {
        Ok(bytes) => {
            parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(GZIP));
            bytes.into()
        }
        Err(error) => {
            tracing::warn!(%error, "an answer could not be compressed");
            whole
        }
    };
    Response::from_parts(parts, Either::Right(Full::new(bytes)))
}

fn takes_gzip(request: &HeaderMap) -> bool {
    let lines = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case(GZIP) && !["q=0", "q=0.0"].contains(&weight.trim())
    })
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_takes_gzip_when_it_says_so() {
        for (line, takes) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.8, br", true),
            ("br", false),
            ("", false),
            ("gzip;q=0", false),
            ("xgzip", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(line))]);
            assert_eq!(takes_gzip(&headers), takes, "{line}");
        }
    }
}
