//! Texts that are made of the request.

use std::fmt;
use std::sync::Arc;

use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, context};
use serde_json::json;

use crate::reply::{Part, Reply, Text};
use crate::subject::Subject;

/// What a rendering may cost: so many steps, and some 64 bytes of text for each that is left.
const FUEL: u64 = 200_000;
const NAME: &str = "template";
/// What a template may say of a request.
const VARIABLES: [&str; 7] =
    ["model", "user_message", "system_prompt", "tool_result", "turn", "request_id", "request"];

/// A template, compiled once.
#[derive(Clone)]
pub(crate) struct Template(Arc<Environment<'static>>);

impl Template {
    /// # Errors
    /// What is wrong with it, as far as that can be seen without a request: its syntax, and names of
    /// variables, filters and functions that there are not.
    pub(crate) fn new(source: String) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        let wrong = |error: minijinja::Error| format!("the template cannot be used: {error}");
        environment.add_template_owned(NAME, source).map_err(wrong)?;
        let template = environment.get_template(NAME).map_err(wrong)?;
        let known =
            |name: &str| VARIABLES.contains(&name) || environment.globals().any(|(global, _)| global == name);
        if let Some(name) = template.undeclared_variables(false).into_iter().filter(|name| !known(name)).min()
        {
            return Err(format!("the template's variable `{name}` is none of {}", VARIABLES.join(", ")));
        }
        // A request without anything in it, to which everything may be asked.
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        let template = environment.get_template(NAME).map_err(wrong)?;
        let blank = context! {
            model => "", user_message => "", system_prompt => "", tool_result => "", turn => 1,
            request_id => "", request => Serde(json!({})),
        };
        if let Err(error) = template.render(blank)
            && let ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction =
                error.kind()
        {
            return Err(wrong(error));
        }
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        Ok(Self(Arc::new(environment)))
    }

    /// # Errors
    /// What went wrong and where, without anything of the request.
    fn render(&self, subject: &Subject<'_>, request_id: &str) -> Result<String, String> {
        let rendered = self.0.get_template(NAME).and_then(|template| {
            template.render(context! {
                model => subject.call.model.as_str(),
                user_message => subject.call.user_text.as_str(),
                system_prompt => subject.system(),
                tool_result => subject.tool_result().unwrap_or_default(),
                turn => subject.turn(),
                request_id => request_id,
                request => Serde(subject.body()),
            })
        });
        rendered.map_err(|error| {
            format!("line {} of the reply's template: {}", error.line().unwrap_or(1), error.kind())
        })
    }
}

/// The reply with what its templates make of a request.
///
/// # Errors
/// What went wrong and where, without anything of the request.
pub(crate) fn fill(reply: &Reply, subject: &Subject<'_>, request_id: &str) -> Result<Reply, String> {
    let mut filled = reply.clone();
    for (index, template) in &reply.templates {
        filled.parts[*index] = Part::Text(Text::new(template.render(subject, request_id)?));
    }
    Ok(filled)
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template")
    }
}
