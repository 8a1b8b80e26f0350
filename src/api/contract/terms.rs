//! The words in which a promise is written down.

/// A value's kind.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Text.
    Text,
    /// A time as ISO 8601, in UTC, with milliseconds.
    Time,
    /// A time in milliseconds since 1970, as the replaced systems told it.
    Moment,
    /// A whole number.
    Whole,
    /// `true` or `false`.
    Yes,
    /// Any JSON.
    Any,
    /// One of these words.
    Word(&'static [&'static str]),
    /// The object of that name in [`super::shapes`].
    Is(&'static str),
    /// A list.
    List(&'static Kind),
    /// An object with names of its own and values of one kind.
    Map(&'static Kind),
    /// May be `null`: not known, or none.
    Perhaps(&'static Kind),
}

/// An object: its name, what it is, and its fields, all of which are always there.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) fields: &'static [Field],
}

/// A field of an object: its name, its kind, and what it says where the name does not.
pub(crate) type Field = (&'static str, Kind, &'static str);

/// Something that a question may carry: its name, whether it must be there, and what it does.
pub(crate) type Parameter = (&'static str, bool, &'static str);

/// What is answered when all goes well.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// JSON in the envelope of `/api/v3`, around data of that kind.
    Enveloped(Kind),
    /// JSON as it stands there, for the replaced systems' scripts.
    Bare(Kind),
    /// Something else, of that media type.
    Other(&'static str),
}

/// One route and method.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) doors: Doors,
    pub(crate) what: &'static str,
    /// Behind `?`.
    pub(crate) query: &'static [Parameter],
    /// In the body, an object.
    pub(crate) body: &'static [(&'static str, Kind, bool, &'static str)],
    pub(crate) status: u16,
    pub(crate) answer: Answer,
}

impl Route {
    /// Whether an `Idempotency-Key` names its action.
    pub(crate) fn takes_key(&self) -> bool {
        self.method == Method::Post && self.path.starts_with("/api/v3/todos")
    }
}

/// How a route is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
}

/// Where a route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doors {
    /// On loopback and on the control socket.
    Both,
    /// On the control socket alone.
    Socket,
}
