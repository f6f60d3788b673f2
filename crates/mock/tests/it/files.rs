//! Fixtures from files: what they may say, and how what is wrong with them is said.

use portunus_mock::{Fixture, FixtureError, MockServer, ServerBuilder};
use serde_json::{Value, json};

use crate::support::{
    chat, contents, events, frozen, header, message, post, post_chat, post_message, response,
};

/// A server with the fixtures of a file.
async fn serve(yaml: &str) -> MockServer {
    frozen(Fixture::parse("test.yaml", yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))).await
}

/// The text of a chat's answer; of an error, its status.
async fn said(server: &MockServer, body: &Value) -> String {
    let answer = post_chat(&server.url(), body).send().await.unwrap();
    let status = answer.status().to_string();
    let body: Value = answer.json().await.unwrap_or_default();
    body.pointer("/choices/0/message/content").and_then(Value::as_str).map_or(status, str::to_owned)
}

/// The YAML of the page that documents the format.
fn examples() -> Vec<&'static str> {
    let page = include_str!("../../FIXTURES.md");
    let blocks = page.split("```yaml\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

#[tokio::test]
async fn every_example_of_the_page_loads() {
    assert!(examples().len() >= 5);
    for yaml in examples() {
        let server = serve(yaml).await;
        // What is expected of them does not happen here.
        server.set_fixtures([]).unwrap();
    }
}

#[tokio::test]
async fn every_member_of_the_schema_is_in_an_example() {
    let examples = examples().concat();
    let unknown = Fixture::parse("t", "fixtures: [{x: 1}]").unwrap_err().to_string();
    let mut members = unknown.split("expected one of ").nth(1).unwrap().replace(", ", " ");
    for place in ["match", "response", "failure", "streaming", "error", "scenario"] {
        let yaml = format!("fixtures: [{{{place}: {{x: 1}}}}]");
        let unknown = Fixture::parse("t", &yaml).unwrap_err().to_string();
        members += " ";
        members += &unknown.split("expected one of ").nth(1).unwrap().replace(", ", " ");
    }
    for member in members.split(' ').filter(|member| *member != "truncate_after_chunks") {
        assert!(examples.contains(&format!("{member}:")), "no example has `{member}`");
    }
}

const SELECTIVE: &str = r#"
fixtures:
  - match: {user_message: weather in, model: {is: gpt-4o}}
    response: {content: exact}
  - match: {user_message: {regex: '(?i)^weather in \w+$'}}
    response: {content: regex}
  - match: {model: mini}
    response: {content: small}
  - match: {system_prompt: {regex: "pirates?$"}, temperature: {min: 0.5}}
    response: {content: system}
  - match: {headers: {X-Test: {regex: '^a+$'}}, metadata: {team: blue}}
    response: {content: header}
  - match: {tool_schema: _weather, wants_json: true}
    response: {content: tool}
  - match: {tool_result: "22"}
    response: {content: result}
  - match: {body_jsonpath: "$.messages[?@.name == 'bob']"}
    response: {content: path}
  - match: {pointer: {/user: u1, /n: 3}, temperature: 0.7}
    response: {content: pointer}
  - match: {turn: 3}
    response: {content: third}
  - match: {key: sk-a}
    response: {content: key}
"#;

#[tokio::test]
async fn conditions() {
    let server = serve(SELECTIVE).await;
    let with = |text: &str, more: Value| {
        let mut body = chat("m", text);
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let messages = |messages: Value| json!({"model": "m", "messages": messages});
    let user = json!({"role": "user", "content": "x"});
    let tool = json!([{"type": "function", "function": {"name": "get_weather"}}]);
    for (body, text) in [
        (chat("gpt-4o", "the weather in Rome?"), "exact"),
        (chat("gpt-4o-2024", "WEATHER in Rome"), "regex"),
        (chat("gpt-4o-2024", "the weather in Rome?"), "404 Not Found"),
        (chat("gpt-4o-mini", "x"), "small"),
        (chat("gpt-4o-Mini", "x"), "404 Not Found"),
        (
            json!({"model": "m", "temperature": 0.5, "messages": [{"role": "system", "content": "as pirate"}, user]}),
            "system",
        ),
        (with("x", json!({"tools": tool, "response_format": {"type": "json_object"}})), "tool"),
        (with("x", json!({"tools": tool})), "404 Not Found"),
        (messages(json!([user, {"role": "tool", "tool_call_id": "c", "content": "22 °C"}])), "result"),
        (messages(json!([{"role": "user", "name": "bob", "content": "x"}])), "path"),
        (with("x", json!({"user": "u1", "n": 3, "temperature": 0.7})), "pointer"),
        (with("x", json!({"user": "u1", "n": 3, "temperature": 0.71})), "404 Not Found"),
        (
            messages(
                json!([user, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}, user]),
            ),
            "third",
        ),
    ] {
        assert_eq!(said(&server, &body).await, text, "{body}");
    }
    let blue = with("x", json!({"metadata": {"team": "blue-1"}}));
    for (name, value, text) in
        [("x-test", "aa", "header"), ("x-test", "ab", "no fixture"), ("authorization", "Bearer sk-a", "key")]
    {
        let answer = post_chat(&server.url(), &blue).header(name, value).send().await.unwrap();
        assert!(answer.text().await.unwrap().contains(text), "{name} {value}");
    }
}

#[tokio::test]
async fn providers() {
    for (provider, served) in [
        ("openai", "/v1/chat/completions"),
        ("responses", "/v1/responses"),
        ("anthropic", "/v1/messages"),
        ("gemini", "/v1beta/models/m:generateContent"),
    ] {
        let server = serve(&format!("fixtures: [{{provider: {provider}, response: {{content: hi}}}}]")).await;
        for (path, body) in [
            ("/v1/chat/completions", chat("m", "x")),
            ("/v1/responses", response("m", "x")),
            ("/v1/messages", message("m", "x")),
            ("/v1beta/models/m:generateContent", contents("x")),
        ] {
            let status = post(&server.url(), path, &body).send().await.unwrap().status();
            assert_eq!(status == 200, path == served, "{provider} {path}");
        }
    }
}

const ANSWERS: &str = r#"
fixtures:
  - match: {model: parts}
    response:
      parts:
        - thinking: Hm.
        - text: Let me see.
        - tool_call: {name: get_weather, arguments: {city: Paris, days: [1, 2.5], no: no}}
      usage: {input: 7, output: 5, cache_read: 2, reasoning: 1}
      stop_reason: tool_use
  - match: {model: calls}
    response: {content: Both., tool_calls: [{name: f, arguments: {}}, {name: g}]}
  - match: {model: cut}
    response: {content: Half, finish_reason: length, id: my-id, fingerprint: fp_1}
  - match: {model: limited}
    error:
      kind: rate_limited
      retry_after_ms: 1500
      rate_limits:
        requests: {limit: 5, remaining: 0, reset_ms: 1000}
        tokens: {limit: 9, remaining: 8, reset_ms: 2000}
  - match: {model: teapot}
    error: {status: 418, message: short and stout, headers: {x-tea: green}}
  - match: {model: no}
    refusal: {reason: I must not.}
  - match: {model: flaky}
    sequence:
      - error: {kind: overloaded}
      - refusal: {reason: no}
      - response: {content: ok}
  - match: {model: redirect}
    fault: {redirect: "http://127.0.0.1:1/"}
  - match: {model: states}
    scenario: {name: s, required_state: "", set_state: one}
    response: {content: first}
  - match: {model: states}
    scenario: {name: s, required_state: one}
    up_to: 1
    response: {content: second}
  - match: {model: states}
    catch_all: true
    response: {content: last}
  - match: {model: states}
    priority: -1
    response: {content: before last}
"#;

#[tokio::test]
async fn answers() {
    let server = serve(ANSWERS).await;
    let url = server.url();
    let answer: Value =
        post_message(&url, &message("parts", "x")).send().await.unwrap().json().await.unwrap();
    let kinds: Vec<&str> =
        answer["content"].as_array().unwrap().iter().filter_map(|part| part["type"].as_str()).collect();
    assert_eq!(kinds, ["thinking", "text", "tool_use"]);
    assert_eq!(answer["content"][2]["input"], json!({"city": "Paris", "days": [1, 2.5], "no": "no"}));
    assert_eq!(answer["stop_reason"], "tool_use");
    assert_eq!(answer["usage"]["output_tokens"], 5);
    let answer: Value = post_chat(&url, &chat("calls", "x")).send().await.unwrap().json().await.unwrap();
    let said_and_called = &answer["choices"][0]["message"];
    assert_eq!(said_and_called["content"], "Both.");
    assert_eq!(said_and_called["tool_calls"][1]["function"], json!({"name": "g", "arguments": "{}"}));
    let answer: Value = post_chat(&url, &chat("cut", "x")).send().await.unwrap().json().await.unwrap();
    let said = (&answer["choices"][0]["finish_reason"], &answer["id"], &answer["system_fingerprint"]);
    assert_eq!(said, (&json!("length"), &json!("my-id"), &json!("fp_1")));
    let limited = post_chat(&url, &chat("limited", "x")).send().await.unwrap();
    assert_eq!((limited.status().as_u16(), header(&limited, "retry-after")), (429, Some("2")));
    assert_eq!(header(&limited, "x-ratelimit-remaining-tokens"), Some("8"));
    let teapot = post_message(&url, &message("teapot", "x")).send().await.unwrap();
    assert_eq!((teapot.status().as_u16(), header(&teapot, "x-tea")), (418, Some("green")));
    assert!(teapot.text().await.unwrap().contains("short and stout"));
    let answer: Value = post_chat(&url, &chat("no", "x")).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["choices"][0]["message"]["refusal"], "I must not.");
    assert_eq!(post_chat(&url, &chat("redirect", "x")).send().await.unwrap().status(), 307);
}

#[tokio::test]
async fn sequences_scenarios_and_order() {
    let server = serve(ANSWERS).await;
    for text in ["503 Service Unavailable", "200 OK", "ok", "404 Not Found"] {
        assert_eq!(said(&server, &chat("flaky", "x")).await, text);
    }
    for text in ["first", "second", "before last", "before last"] {
        assert_eq!(said(&server, &chat("states", "x")).await, text);
    }
}

#[tokio::test]
async fn streams_are_cut_and_disturbed_as_the_file_says() {
    let server = serve(
        r#"
fixtures:
  - match: {model: sized}
    response: {content: "äbcdefg"}
    streaming: {chunk_size: 3, latency: 1, first_frame_ms: 1}
  - match: {model: short}
    response: {content: a text of some length}
    failure: {truncate_after_chunks: 2, latency_ms: 1}
  - match: {model: spoilt}
    response: {content: a text}
    failure: {corrupt_body: true}
  - match: {model: twice}
    response: {content: a text}
    failure: {duplicate_frames: true}
  - match: {model: error}
    response: {content: a text}
    failure: {fail_after_frames: {frames: 1, error: {kind: overloaded}}}
"#,
    )
    .await;
    let ask = async |model: &str, stream: bool| {
        let mut body = chat(model, "x");
        body["stream"] = stream.into();
        post_chat(&server.url(), &body).send().await.unwrap().text().await.unwrap()
    };
    let deltas: Vec<String> = events(&ask("sized", true).await)
        .iter()
        .filter_map(|(_, data)| serde_json::from_str::<Value>(data).ok())
        .filter_map(|data| data["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .filter(|text| !text.is_empty())
        .collect();
    assert_eq!(deltas, ["äbc", "def", "g"]);
    assert_eq!(events(&ask("short", true).await).len(), 2);
    let whole = events(&ask("twice", true).await);
    assert!(whole.chunks(2).all(|pair| pair[0] == pair[1]), "{whole:?}");
    assert!(ask("error", true).await.contains("\"error\""));
    for stream in [false, true] {
        let text = ask("spoilt", stream).await;
        let data =
            text.lines().filter_map(|line| if stream { line.strip_prefix("data: ") } else { Some(line) });
        assert!(data.clone().count() > 0);
        assert!(data.map(serde_json::from_str::<Value>).all(|read| read.is_err()), "{text}");
    }
}

#[tokio::test]
async fn failures_happen_with_their_probability_and_the_same_seed_draws_the_same() {
    let yaml = r#"
fixtures:
  - response: {content: fine}
    failure: {corrupt_body: true, probability: 0.5, chaos_seed: 7}
"#;
    let mut runs = Vec::new();
    for _ in 0..2 {
        let server = serve(yaml).await;
        let mut run = Vec::new();
        for _ in 0..20 {
            run.push(said(&server, &chat("m", "x")).await == "fine");
        }
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].contains(&true) && runs[0].contains(&false), "{runs:?}");
}

#[tokio::test]
async fn templates_say_what_the_request_says() {
    let server = serve(
        r#"
fixtures:
  - match: {model: echo}
    response: {content_template: "{{ user_message }}"}
  - match: {model: all}
    response:
      content_template: >-
        {{ model }}|{{ system_prompt }}|{{ turn }}|{{ request_id }}|{{ request.messages | length }}|{{
        user_message | upper }}|{% for m in request.messages %}{{ m.role }} {% endfor %}
  - match: {model: tool}
    response: {parts: [{thinking: hm}, {template: "It is {{ tool_result }}"}]}
  - match: {model: broken}
    response: {content_template: "{{ request.nothing.at_all }}"}
  - match: {model: endless}
    response: {content_template: "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}"}
"#,
    )
    .await;
    assert_eq!(said(&server, &chat("echo", "{{ 1 + 1 }} <ä>")).await, "{{ 1 + 1 }} <ä>");
    let body = json!({"model": "all", "messages": [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]});
    assert_eq!(said(&server, &body).await, "all|Be brief.|1|req_mock_2|2|HI|system user ");
    let body = json!({"model": "tool", "messages": [
        {"role": "user", "content": "x"}, {"role": "tool", "content": "22"}]});
    assert!(said(&server, &body).await.starts_with("It is "));
    for model in ["broken", "endless"] {
        let answer = post_chat(&server.url(), &chat(model, "canary")).send().await.unwrap();
        assert_eq!(answer.status(), 500);
        let text = answer.text().await.unwrap();
        assert!(text.contains("template") && !text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn fixtures_have_names_and_expectations() {
    let server = serve("fixtures: [{name: once, expect: 1, response: {content: a}}]").await;
    let unmet = server.verify().unwrap_err().to_string();
    assert!(unmet.contains("once"), "{unmet}");
    said(&server, &chat("m", "x")).await;
    assert!(server.verify().is_ok());
}

/// What is wrong, the line and the column where it is, and a part of what is said about it.
const WRONG: &[(&str, &str, &str)] = &[
    ("", "1:1", "end of file"),
    ("fixtures: []", "1:1", "at least one"),
    ("fixture: []", "1:1", "unknown field `fixture`"),
    ("fixtures:\n\t- response: {content: a}", "2:2", "tabs"),
    ("fixtures:\n  - response: {content: a", "2:15", "unclosed"),
    ("fixtures: [{response: {content: a}}]\n---\nfixtures: []", "3:1", "single YAML document"),
    (
        "fixtures:\n  - response: {content: a}\n    response: {content: b}",
        "3:5",
        "duplicate mapping key `response`",
    ),
    (
        "fixtures:\n  - match: {user_mesage: a}\n    response: {content: a}",
        "2:13",
        "unknown field `user_mesage`",
    ),
    ("fixtures:\n  - match: {user_message: ''}\n    response: {content: a}", "2:27", "empty text"),
    ("fixtures:\n  - match:\n      user_message: 42", "3:7", "a text (in quotes"),
    ("fixtures:\n  - match:\n      user_message: {regex: ''}", "3:29", "empty regular expression"),
    ("fixtures:\n  - match:\n      model: {regex: '('}", "3:22", "open group"),
    ("fixtures:\n  - match:\n      model: {regex: '(a{999}){999}'}", "3:22", "size"),
    ("fixtures:\n  - match:\n      model: {regx: a}", "3:15", "`regx`"),
    ("fixtures:\n  - match:\n      headers:\n        'a b': c", "4:9", "no name of a header"),
    ("fixtures:\n  - match:\n      headers: {a: b, A: c}", "3:16", "twice"),
    ("fixtures:\n  - match:\n      headers: {a: ''}", "3:20", "empty text"),
    ("fixtures:\n  - match:\n      temperature: .nan", "3:20", "finite"),
    ("fixtures:\n  - match:\n      temperature: {min: 1, max: 0.5}", "3:20", "no temperature"),
    ("fixtures:\n  - match:\n      temperature: {min: .nan}", "3:20", "no temperature"),
    ("fixtures:\n  - match:\n      temperature: {}", "3:20", "`min` or `max`"),
    ("fixtures:\n  - match:\n      temperature: warm", "3:7", "a number, or"),
    ("fixtures:\n  - match:\n      pointer: {a: 1}", "3:17", "begins with a slash"),
    ("fixtures:\n  - match:\n      body_jsonpath: 'a['", "3:22", "no JSONPath"),
    ("fixtures:\n  - match:\n      turn: 0", "3:13", "at least 1"),
    ("fixtures:\n  - match:\n      key: ''", "3:12", "must not be empty"),
    ("fixtures:\n  - provider: openia", "2:15", "unknown variant `openia`"),
    ("fixtures:\n  - match: {model: a}", "2:5", "exactly one of"),
    ("fixtures:\n  - response: {content: a}\n    error: {status: 500, message: b}", "2:5", "exactly one of"),
    (
        "fixtures:\n  - error: {status: 500, message: b}\n    failure: {latency_ms: 1}",
        "2:5",
        "go with a `response`",
    ),
    ("fixtures:\n  - refusal: {reason: b}\n    failure: {latency_ms: 1}", "2:5", "no `failure`"),
    ("fixtures:\n  - refusal: {reason: b}\n    response: {content: a}", "2:5", "exactly one of"),
    ("fixtures:\n  - refusal: {reason: ''}", "2:23", "must not be empty"),
    ("fixtures:\n  - error: {status: 200, message: b}", "2:12", "400 to 599"),
    ("fixtures:\n  - error: {status: 500}", "2:12", "`message`"),
    ("fixtures:\n  - error: {message: b}", "2:12", "and not both"),
    ("fixtures:\n  - error: {kind: tired}", "2:19", "unknown variant `tired`"),
    ("fixtures:\n  - error: {status: 500, message: b, headers: {'a b': c}}", "2:48", "no name of a header"),
    ("fixtures:\n  - error: {status: 500, message: b, headers: {a: \"b\\nc\"}}", "2:51", "one line"),
    ("fixtures:\n  - fault: {status: 99}", "2:21", "200 to 599"),
    ("fixtures:\n  - fault: explode", "2:12", "unknown variant `explode`"),
    ("fixtures:\n  - response: {}", "2:15", "a response has"),
    ("fixtures:\n  - response: {content: a, content_template: b}", "2:15", "not both"),
    ("fixtures:\n  - response: {content: a, parts: [{text: b}]}", "2:15", "the whole reply"),
    ("fixtures:\n  - response: {parts: []}", "2:15", "empty list"),
    ("fixtures:\n  - response: {parts: [{txt: b}]}", "2:25", "unknown variant `txt`"),
    ("fixtures:\n  - response: {tool_calls: []}", "2:15", "empty list"),
    ("fixtures:\n  - response:\n      tool_calls: [{name: ''}]", "3:27", "must not be empty"),
    ("fixtures:\n  - response:\n      tool_calls: [{name: f, arguments: [1]}]", "3:41", "are an object"),
    ("fixtures:\n  - response:\n      tool_calls: [{name: f, arguments: {a: .inf}}]", "3:45", "finite"),
    ("fixtures:\n  - response: {embedding: []}", "2:5", "embedding needs values"),
    ("fixtures:\n  - response: {content: a, finish_reason: bored}", "2:43", "unknown variant `bored`"),
    ("fixtures:\n  - response: {content: a, finish_reason: tool_calls}", "2:15", "calls a tool"),
    (
        "fixtures:\n  - response: {tool_calls: [{name: f}], finish_reason: stop}",
        "2:15",
        "ends with `tool_calls`",
    ),
    ("fixtures:\n  - response: {content: a, usage: {input: 1}}", "2:36", "missing field `output`"),
    ("fixtures:\n  - response: {content_template: '{{ a'}", "2:34", "template"),
    ("fixtures:\n  - response: {content_template: '{{ mdoel }}'}", "2:34", "`mdoel` is none of model"),
    ("fixtures:\n  - response: {content_template: '{{ model | uper }}'}", "2:34", "uper"),
    ("fixtures:\n  - response: {content: a}\n    streaming: {chunk_size: 0}", "3:29", "at least 1"),
    ("fixtures:\n  - response: {content: a}\n    streaming: {latency: -1}", "3:26", "milliseconds"),
    ("fixtures:\n  - response: {content: a}\n    failure: {latency_ms: 86400001}", "3:27", "at most a day"),
    ("fixtures:\n  - response: {content: a}\n    failure: {corrupt_body: yes}", "3:29", "boolean"),
    (
        "fixtures:\n  - response: {content: a}\n    failure: {truncate_after_frames: 1, reset_after_frames: 1}",
        "3:14",
        "in one way",
    ),
    (
        "fixtures:\n  - response: {content: a}\n    failure: {corrupt_body: true, corrupt_frame: 1}",
        "3:14",
        "all frames or of one",
    ),
    ("fixtures:\n  - response: {content: a}\n    failure: {probability: 1.5}", "3:28", "from 0 to 1"),
    (
        "fixtures:\n  - response: {content: a}\n    failure: {probability: 0.5}\n    up_to: 1",
        "2:5",
        "`up_to`",
    ),
    ("fixtures:\n  - response: {content: a}\n    up_to: 0", "3:12", "at least 1"),
    ("fixtures:\n  - response: {content: a}\n    scenario: {name: ''}", "3:22", "must not be empty"),
    ("fixtures:\n  - response: {content: a}\n    name: ''", "3:11", "must not be empty"),
    ("fixtures:\n  - response: {content: a}\n    expect: {}", "3:13", "`min` or `max`"),
    ("fixtures:\n  - response: {content: a}\n    expect: {min: 2, max: 1}", "3:13", "no number of times"),
    ("fixtures:\n  - response: {content: a}\n    expect: often", "3:5", "a number of times"),
    ("fixtures:\n  - sequence: []", "2:5", "would never answer"),
    (
        "fixtures:\n  - sequence: [{response: {content: a}}]\n    streaming: {latency: 1}",
        "2:5",
        "stand in its steps",
    ),
    (
        "fixtures:\n  - sequence: [{response: {content: a}, failure: {probability: 0.5}}]",
        "2:16",
        "nothing to chance",
    ),
    ("fixtures:\n  - sequence: [{}]", "2:16", "exactly one of"),
];

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let mut wrong = Vec::new();
    for (yaml, place, says) in WRONG {
        let said =
            Fixture::parse("bad.yaml", yaml).map_or_else(|error| error.to_string(), |_| "loaded".into());
        if !(said.starts_with(&format!("bad.yaml:{place}: ")) && said.contains(says)) {
            wrong.push(format!("{yaml}\n  expected {place} … {says}\n  but said {said}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_is_bounded() {
    let large = format!("fixtures: [{{response: {{content: {}}}}}]", "a".repeat(9 << 20));
    let deep = format!(
        "fixtures: [{{match: {{pointer: {{/a: {}1{}}}}}, response: {{content: a}}}}]",
        "[".repeat(90),
        "]".repeat(90)
    );
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (this, last) in ('b'..='i').zip('a'..) {
        bomb += &format!("{this}: &{this} [{}]\n", vec![format!("*{last}"); 9].join(", "));
    }
    let bomb = format!(
        "fixtures:\n- response: {{content: a}}\n  match:\n    pointer:\n      /a: {{{}}}\n",
        bomb.replace('\n', ", ")
    );
    let nested = |times: usize| format!("{}1{}", "(".repeat(times), ")".repeat(times));
    let path = format!("fixtures: [{{match: {{body_jsonpath: '$[?{}'}}}}]", "@[?".repeat(50));
    let regex = format!("fixtures: [{{match: {{model: {{regex: '{}'}}}}}}]", nested(9_999));
    let template = format!("fixtures: [{{response: {{content_template: '{{{{ {} }}}}'}}}}]", nested(9_999));
    for yaml in [large, deep, bomb, path, regex, template] {
        let error = Fixture::parse("bad.yaml", &yaml).unwrap_err();
        assert!(matches!(error, FixtureError::Invalid { .. }), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Fixture::load("/nowhere/at-all.yaml").unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/at-all.yaml: "), "{error}");
}

#[tokio::test]
async fn what_files_have_the_builder_has_too() {
    use portunus_mock::{Reply, StartError, Text};
    let server = ServerBuilder::new()
        .fixture(Fixture::new().on_model(Text::contains("mini")).reply(Reply::new().echo()))
        .fixture(Fixture::new().user(Text::matches(r"^\d+$")).respond_with_content("a number"))
        .fixture(Fixture::new().json_path("$.messages[1]").reply(Reply::new().template("{{ turn }}")))
        .build()
        .await
        .unwrap();
    assert_eq!(said(&server, &chat("gpt-4o-mini", "hello")).await, "hello");
    assert_eq!(said(&server, &chat("m", "42")).await, "a number");
    assert_eq!(said(&server, &chat("m", "x42")).await, "404 Not Found");
    let made = Fixture::new().reply_with(|_| Reply::new().template("{{"));
    let server = ServerBuilder::new().fixture(made).build().await.unwrap();
    assert_eq!(said(&server, &chat("m", "hi")).await, "500 Internal Server Error");
    for bad in [
        Fixture::new().user(Text::matches("(")),
        Fixture::new().system(Text::matches("")),
        Fixture::new().header("a", Text::contains("")),
        Fixture::new().json_path("a["),
        Fixture::new().reply(Reply::new().template("{{")),
    ] {
        let built = ServerBuilder::new().fixture(bad).build().await;
        assert!(matches!(built, Err(StartError::Fixture { index: 0, .. })), "{built:?}");
    }
}
