//! Test vectors of others.

use base64::Engine as _;
use portunus_auth_core::Dialect;
use portunus_auth_core::vectors::{Report, open};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    id: String,
    expect: String,
    raw_base64: String,
}

/// Each text as a member of a request's body, which is read without building a tree of it.
#[test]
fn json_parsing_in_a_request_body() {
    let Some(file) = open("json-parsing/cases.json") else { return };
    let mut report = Report::on("json-parsing (request body)");
    for case in serde_json::from_slice::<Vec<Case>>(&file).unwrap() {
        let text = base64::engine::general_purpose::STANDARD.decode(&case.raw_base64).unwrap();
        let body = [br#"{"model":"gpt-4o","x":"#.as_slice(), &text, b"}"].concat();
        let accepted = Dialect::OpenAi.read(&body).is_ok();
        report.case(
            &case.id,
            match case.expect.as_str() {
                "accept" => accepted,
                "reject" => !accepted,
                _ => true,
            },
        );
    }
    report.finish();
}
