//! The error table, whole: what a client may rely on. A change here is a change of the public API.

use gateway_core::error::ErrorCode;

const TABLE: &str = "\
400 invalid_request_error invalid_json
400 invalid_request_error missing_parameter
400 invalid_request_error invalid_parameter
400 invalid_request_error context_length_exceeded
401 authentication_error invalid_api_key
402 billing_error insufficient_balance
403 permission_error key_deactivated
403 permission_error spend_limit_reached
403 permission_error wrong_key_type
403 permission_error model_not_allowed
404 invalid_request_error model_not_found
404 invalid_request_error unknown_url
404 invalid_request_error not_found
405 invalid_request_error method_not_allowed
409 invalid_request_error idempotency_conflict
413 invalid_request_error request_too_large
429 rate_limit_error rate_limit_exceeded
500 api_error internal_error
502 api_error upstream_error
503 api_error upstream_overloaded
503 api_error no_provider
504 api_error upstream_timeout
";

#[test]
fn the_error_table_is_what_clients_know() {
    let table: String =
        ErrorCode::ALL.iter().map(|code| code.row()).map(|(s, t, c)| format!("{s} {t} {c}\n")).collect();
    assert_eq!(table, TABLE);
}
