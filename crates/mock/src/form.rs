//! A query or a form body. A parameter without a value counts as absent, and one that is repeated is
//! an error (RFC 6749 §3.1, §3.2).

use crate::capture::Recorded;

pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

#[derive(Default)]
pub(crate) struct Form {
    pairs: Vec<(String, String)>,
}

impl Form {
    pub(crate) fn parse(text: &[u8]) -> Self {
        Self { pairs: form_urlencoded::parse(text).into_owned().collect() }
    }

    /// The body, if its media type says that it is a form.
    pub(crate) fn of_body(request: &Recorded) -> Option<Self> {
        let media = request.header("content-type")?.split(';').next()?.trim();
        media.eq_ignore_ascii_case(FORM).then(|| Self::parse(request.body()))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.pairs.iter().find(|(key, _)| key == name)?;
        (!value.is_empty()).then_some(value)
    }

    /// Whether that parameter is there more than once.
    pub(crate) fn repeats(&self, name: &str) -> bool {
        self.pairs.iter().filter(|(key, _)| key == name).count() > 1
    }

    /// A parameter that is there more than once.
    pub(crate) fn repeated(&self) -> Option<&str> {
        self.names().find(|name| self.repeats(name))
    }

    /// Every value of that parameter.
    #[cfg(feature = "oauth")]
    pub(crate) fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.pairs().filter(move |(key, value)| *key == name && !value.is_empty()).map(|(_, value)| value)
    }

    #[cfg(feature = "oauth")]
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(name, _)| &**name)
    }
}
