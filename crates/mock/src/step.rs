//! One answer of a fixture.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::api_error::ApiError;
use crate::capture::Recorded;
use crate::fault::Fault;
use crate::reply::Reply;

/// One answer of a fixture: made from a [`Reply`], an [`ApiError`] or a [`Fault`].
#[derive(Clone, Debug)]
pub struct Step(pub(crate) Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    Reply(Arc<Reply>),
    /// A reply that is made of the request.
    Made(Arc<dyn Fn(&Recorded) -> Reply + Send + Sync>),
    Error(Arc<ApiError>),
    Fault(Fault),
}

impl Step {
    /// What makes it impossible, if anything does.
    pub(crate) fn problem(&self) -> Option<Cow<'static, str>> {
        match &self.0 {
            Kind::Reply(reply) => reply.problem.clone(),
            Kind::Error(error) => error.problem().map(Cow::Borrowed),
            Kind::Made(_) | Kind::Fault(_) => None,
        }
    }
}

impl From<Reply> for Step {
    fn from(reply: Reply) -> Self {
        Self(Kind::Reply(Arc::new(reply)))
    }
}

impl From<ApiError> for Step {
    fn from(error: ApiError) -> Self {
        Self(Kind::Error(Arc::new(error)))
    }
}

impl From<Fault> for Step {
    fn from(fault: Fault) -> Self {
        Self(Kind::Fault(fault))
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(reply) => reply.fmt(f),
            Self::Made(_) => f.write_str("a reply made of the request"),
            Self::Error(error) => error.fmt(f),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}
