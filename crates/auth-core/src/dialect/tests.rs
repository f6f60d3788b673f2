use proptest::prelude::*;

use super::*;

fn found(path: &str) -> Option<(Dialect, Operation, Option<String>)> {
    let route = Dialect::find(path)?;
    Some((route.dialect, route.operation, route.model(path).map(Cow::into_owned)))
}

#[test]
fn routes_are_exact() {
    assert_eq!(Dialect::route(&Method::POST, "/v1/messages").unwrap().dialect, Dialect::Anthropic);
    assert_eq!(
        Dialect::route(&Method::POST, "/v1/chat/completions").unwrap().operation,
        Operation::ChatCompletions
    );
    assert_eq!(Dialect::route(&Method::GET, "/v1/messages"), Err(NoRoute::WrongMethod("POST")));
    assert_eq!(Dialect::route(&Method::POST, "/v1/models"), Err(NoRoute::WrongMethod("GET")));
    for path in [
        "/v1/messages/",
        "//v1/messages",
        "/v1/Messages",
        "/v1/%6Dessages",
        "/v1/messages/..",
        "",
        "/v1/models/",
        "/v1/models/a/b",
        "/v1beta/models/:generateContent",
        "/v1beta/models/m:generatecontent",
        "/v1beta/models/m:generateContent/",
        "/openai/deployments//chat/completions",
        "/openai/deployments/a/b/chat/completions",
        "/model/m/converse/",
        "/model//converse",
        "/v1/projects/p/locations//publishers/google/models/m:generateContent",
    ] {
        assert_eq!(Dialect::route(&Method::POST, path), Err(NoRoute::UnknownPath), "{path}");
    }
}

#[test]
fn every_dialect_has_its_routes_and_names_models_in_them() {
    use Dialect::{Azure, Bedrock, Gemini, OpenAi, Vertex};
    use Operation as O;
    let vertex = "/v1/projects/p-1/locations/us-east5/publishers";
    let cases = [
        ("/v1/responses".to_owned(), OpenAi, O::Responses, None),
        ("/v1/embeddings".to_owned(), OpenAi, O::Embeddings, None),
        ("/v1/models".to_owned(), OpenAi, O::ListModels, None),
        ("/v1/models/ft:gpt-4o:acme".to_owned(), OpenAi, O::GetModel, Some("ft:gpt-4o:acme")),
        ("/v1beta/models/g:generateContent".to_owned(), Gemini, O::GenerateContent, Some("g")),
        ("/v1/models/g:streamGenerateContent".to_owned(), Gemini, O::StreamGenerateContent, Some("g")),
        ("/v1beta/models/g%3Ax:countTokens".to_owned(), Gemini, O::CountTokens, Some("g:x")),
        ("/v1beta/models/g".to_owned(), Gemini, O::GetModel, Some("g")),
        ("/openai/deployments/d/chat/completions".to_owned(), Azure, O::ChatCompletions, Some("d")),
        ("/openai/v1/responses".to_owned(), Azure, O::Responses, None),
        (format!("{vertex}/google/models/g:generateContent"), Vertex, O::GenerateContent, Some("g")),
        (
            format!("{vertex}/anthropic/models/claude@1:streamRawPredict"),
            Vertex,
            O::StreamRawPredict,
            Some("claude@1"),
        ),
        (format!("{vertex}/anthropic/models/count-tokens:rawPredict"), Vertex, O::CountMessageTokens, None),
        ("/model/a.b-v1%3A0/invoke".to_owned(), Bedrock, O::InvokeModel, Some("a.b-v1:0")),
        ("/model/a.b-v1:0/converse".to_owned(), Bedrock, O::Converse, Some("a.b-v1:0")),
        (
            "/model/arn%3Aaws%3Abedrock%3A%3A1%3Ax%2Fy/converse-stream".to_owned(),
            Bedrock,
            O::ConverseStream,
            Some("arn:aws:bedrock::1:x/y"),
        ),
    ];
    for (path, dialect, operation, model) in cases {
        assert_eq!(found(&path), Some((dialect, operation, model.map(str::to_owned))), "{path}");
    }
}

#[test]
fn a_models_name_in_a_path_cannot_hide_another_path_or_model() {
    for name in [
        "..", "%2e%2e", "a%2Fb", "a%2fb", "a%2Cb", "a,b", "a%00", "a%20b", "a%", "a%4", "a%zz", "a%252Fb",
        "a%C3%A9", "a%5Cb", "a%3Fb", "a%23b",
    ] {
        assert_eq!(found(&format!("/v1beta/models/{name}:generateContent")), None, "{name}");
        assert_eq!(found(&format!("/openai/deployments/{name}/embeddings")), None, "{name}");
    }
    let long = "m".repeat(257);
    assert_eq!(found(&format!("/model/{long}/converse")), None);
    assert_eq!(found("/model/%2e%2e/converse"), None);
    assert!(found("/model/a%2Fb/converse").is_some());
}

#[test]
fn where_keys_are_and_what_is_guessed() {
    let headers = |name: Option<HeaderName>| {
        HeaderMap::from_iter(name.map(|name| (name, HeaderValue::from_static("k"))))
    };
    for dialect in [Dialect::Gemini, Dialect::Azure] {
        assert_eq!(Dialect::guess("/nowhere", &headers(dialect.key_header())), dialect);
    }
    for dialect in [Dialect::Anthropic, Dialect::Gemini, Dialect::Azure] {
        assert!(KEY_HEADERS.contains(&dialect.key_header().unwrap()));
    }
    let none = HeaderMap::new();
    for (path, dialect) in [
        ("/v1/nowhere", Dialect::OpenAi),
        ("/v1/messages/batches", Dialect::Anthropic),
        ("/v1beta/nowhere", Dialect::Gemini),
        ("/openai/nowhere", Dialect::Azure),
        ("/v1/projects/p", Dialect::Vertex),
        ("/model/m/nowhere", Dialect::Bedrock),
    ] {
        assert_eq!(Dialect::guess(path, &none), dialect, "{path}");
    }
}

#[test]
fn errors_look_like_the_providers_own() {
    assert_eq!(
        Dialect::OpenAi.error_body(ErrorKind::Authentication, "no \"key\"", "req_1"),
        r#"{"error":{"message":"no \"key\"","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#
    );
    assert_eq!(
        Dialect::Anthropic.error_body(ErrorKind::Permission, "no", "req_1"),
        r#"{"type":"error","error":{"type":"permission_error","message":"no"},"request_id":"req_1"}"#
    );
    assert_eq!(
        Dialect::Vertex.error_body(ErrorKind::RateLimited, "no", "req_1"),
        r#"{"error":{"code":429,"message":"no","status":"RESOURCE_EXHAUSTED"}}"#
    );
    assert_eq!(Dialect::Bedrock.error_body(ErrorKind::RateLimited, "no", "req_1"), r#"{"message":"no"}"#);
    let (name, value) = Dialect::Bedrock.error_header(ErrorKind::RateLimited).unwrap();
    assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-amzn-errortype", "ThrottlingException"));
    assert_eq!(Dialect::OpenAi.error_header(ErrorKind::RateLimited), None);
}

/// Every byte escaped, as the most careful client would.
fn escaped(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

proptest! {
    #[test]
    fn any_path_is_read_or_refused(path in any::<String>(), model in "[!-~]{0,12}") {
        for path in [path, format!("/v1beta/models/{model}:countTokens"), format!("/model/{model}/invoke")] {
            if let Some(route) = Dialect::find(&path) {
                let model = route.model(&path);
                prop_assert!(model.is_none_or(|name| !name.contains([',', '%', '\\', ' ', '?', '#'])));
            }
        }
    }

    #[test]
    fn a_name_is_the_same_with_and_without_escapes(model in "[A-Za-z0-9@._~-]{1,40}") {
        prop_assume!(!matches!(&*model, "." | ".."));
        let paths: [fn(&str) -> String; 3] = [
            |model| format!("/v1beta/models/{model}:streamGenerateContent"),
            |model| format!("/openai/deployments/{model}/chat/completions"),
            |model| format!("/model/{model}/converse-stream"),
        ];
        for path in paths {
            let (plain, hidden) = (path(&model), path(&escaped(&model)));
            prop_assert_eq!(found(&plain).and_then(|found| found.2), Some(model.clone()));
            prop_assert_eq!(found(&plain), found(&hidden));
        }
    }
}
