//! `/openapi.json`: the [`contract`](super::contract) in the words of OpenAPI 3.1.
//!
//! It is the same for every daemon of a version, so it is made once; `docs/openapi.json` is a copy, and a test says when they
//! differ.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::contract::{Answer, Doors, Kind, Method, ROUTES, Route, Shape, shapes};

/// The document, as it is sent.
pub(crate) static TEXT: LazyLock<String> =
    LazyLock::new(|| serde_json::to_string_pretty(&document()).expect("a document has texts for keys"));

fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        let method = match route.method {
            Method::Get => "get",
            Method::Post => "post",
        };
        item[method] = operation(route);
    }
    let mut schemas: Map<String, Value> = shapes().map(|shape| (shape.name.to_owned(), object(shape))).collect();
    schemas["Problem"]["properties"].as_object_mut().into_iter().for_each(optional);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "hubless",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT", "identifier": "MIT"},
            "description": "Two doors. Loopback takes GET and HEAD; the control socket (ctl.sock, Host “hubless”) takes everything. \
                            Operations marked `x-door: socket` are on the socket alone.",
        },
        "servers": [{"url": "http://localhost:4825", "description": "loopback: reading"},
                    {"url": "http://hubless", "description": "the control socket: curl --unix-socket …/ctl.sock"}],
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

/// What a problem has only sometimes.
fn optional(fields: &mut Map<String, Value>) {
    fields.insert("cause".into(), json!({"type": "string", "description": "what lies behind it"}));
    fields.insert("fix".into(), json!({"type": "string", "description": "the command or step that mends it"}));
    let names = json!({"type": "array", "items": {"type": "string"}, "description": "names that were perhaps meant"});
    fields.insert("didYouMean".into(), names);
}

fn operation(route: &Route) -> Value {
    let query = route.query.iter().map(
        |(name, needed, what)| json!({"name": name, "in": "query", "required": needed, "description": what, "schema": {"type": "string"}}),
    );
    let placed = |name: &str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}});
    let key = route.takes_key().then(key);
    let parameters: Vec<Value> = places(route.path).map(placed).chain(query).chain(key).collect();
    let mut out = json!({
        "summary": route.what,
        "x-door": match route.doors { Doors::Both => "both", Doors::Socket => "socket" },
        "parameters": parameters,
        "responses": {
            route.status.to_string(): {"description": "", "content": content(route.answer)},
            "default": {"description": "No, and why.", "content": {"application/problem+json": {"schema": reference("Problem")}}},
        },
    });
    if route.takes_key() {
        out["responses"]["422"] = json!({"description": "`key-reused`: the key was given to another action; nothing was done.",
                                         "content": {"application/problem+json": {"schema": reference("Problem")}}});
    }
    if !route.body.is_empty() {
        let fields: Map<String, Value> = route.body.iter().map(|(name, kind, _, what)| ((*name).to_owned(), told(*kind, what))).collect();
        let needed: Vec<&str> = route.body.iter().filter(|(_, _, needed, _)| *needed).map(|(name, ..)| *name).collect();
        let schema = json!({"type": "object", "properties": fields, "required": needed});
        out["requestBody"] = json!({"required": !needed.is_empty(), "content": {"application/json": {"schema": schema}}});
    }
    out
}

fn key() -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "Names the action: asked again with the same key, on the same device and at any later time, it is done once and \
                        answered 200. The same key with another question is refused (422).",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    })
}

/// What stands in braces in a path.
fn places(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn content(answer: Answer) -> Value {
    match answer {
        Answer::Enveloped(kind) => json!({"application/json": {"schema": envelope(&schema(kind))}}),
        Answer::Bare(kind) => json!({"application/json": {"schema": schema(kind)}}),
        Answer::Other(media) => json!({media: {}}),
    }
}

/// The envelope: whose word it is, of when, and whether it is all of it.
fn envelope(data: &Value) -> Value {
    let text = |what: &str| json!({"type": "string", "description": what});
    json!({
        "type": "object",
        "required": ["schema", "asOf", "source", "device", "deviceId", "total", "truncated", "next", "warnings", "data"],
        "properties": {
            "schema": {"type": "integer", "description": "rises when a field goes or gets another meaning"},
            "asOf": {"type": "string", "format": "date-time"},
            "source": {"type": "string", "enum": ["daemon", "disk"]},
            "device": text("the name of the device that answers"),
            "deviceId": text("its id"),
            "total": {"type": "integer", "description": "how many rows fit the question"},
            "truncated": {"type": "boolean", "description": "whether rows are missing"},
            "next": {"type": ["string", "null"], "description": "the cursor that brings them"},
            "warnings": {"type": "array", "items": {"type": "string"}},
            "data": data,
        },
    })
}

fn object(shape: &Shape) -> Value {
    let fields: Map<String, Value> = shape.fields.iter().map(|(name, kind, what)| ((*name).to_owned(), told(*kind, what))).collect();
    let needed: Vec<&str> = shape.fields.iter().map(|(name, ..)| *name).collect();
    let mut out = json!({"type": "object", "required": needed, "properties": fields});
    if !shape.what.is_empty() {
        out["description"] = json!(shape.what);
    }
    out
}

fn told(kind: Kind, what: &str) -> Value {
    let mut out = schema(kind);
    if !what.is_empty() {
        out["description"] = json!(what);
    }
    out
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn schema(kind: Kind) -> Value {
    match kind {
        Kind::Text => json!({"type": "string"}),
        Kind::Time => json!({"type": "string", "format": "date-time"}),
        Kind::Moment => json!({"type": "integer", "format": "int64", "description": "milliseconds since 1970"}),
        Kind::Whole => json!({"type": "integer"}),
        Kind::Yes => json!({"type": "boolean"}),
        // Spelt out: some readers take no schema without a type.
        Kind::Any => json!({"type": ["object", "array", "string", "number", "boolean", "null"]}),
        Kind::Word(words) => json!({"type": "string", "enum": words}),
        Kind::Is(name) => reference(name),
        Kind::List(of) => json!({"type": "array", "items": schema(*of)}),
        Kind::Map(of) => json!({"type": "object", "additionalProperties": schema(*of)}),
        Kind::Perhaps(of) => perhaps(schema(*of)),
    }
}

/// As a schema, or `null`.
fn perhaps(mut of: Value) -> Value {
    match of.get("type").cloned() {
        Some(kind) => {
            of["type"] = json!([kind, "null"]);
            if let Some(words) = of.get_mut("enum").and_then(Value::as_array_mut) {
                words.push(Value::Null);
            }
            of
        }
        None => json!({"oneOf": [of, {"type": "null"}]}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{Fleet, House, Raw, control, get};
    use std::collections::BTreeSet;

    /// The command that writes the copy anew.
    const AGAIN: &str = "HUBLESS_WRITE_DOCS=1 cargo test --lib api::openapi";

    fn shape(name: &str) -> &'static Shape {
        shapes().find(|shape| shape.name == name).unwrap_or_else(|| panic!("no shape {name}"))
    }

    /// Where a value is not what was promised.
    fn faults(value: &Value, kind: Kind, at: &str, out: &mut Vec<String>) {
        let fits = match kind {
            Kind::Any => true,
            Kind::Text => value.is_string(),
            Kind::Time => value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
            Kind::Whole | Kind::Moment => value.is_i64() || value.is_u64(),
            Kind::Yes => value.is_boolean(),
            Kind::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Kind::Perhaps(of) => {
                if !value.is_null() {
                    faults(value, *of, at, out);
                }
                true
            }
            Kind::List(of) => value.as_array().is_some_and(|rows| {
                rows.iter().enumerate().for_each(|(n, row)| faults(row, *of, &format!("{at}[{n}]"), out));
                true
            }),
            Kind::Map(of) => value.as_object().is_some_and(|rows| {
                rows.iter().for_each(|(name, row)| faults(row, *of, &format!("{at}.{name}"), out));
                true
            }),
            Kind::Is(name) => value.as_object().is_some_and(|object| {
                let promised: BTreeSet<&str> = shape(name).fields.iter().map(|(name, ..)| *name).collect();
                let there: BTreeSet<&str> = object.keys().map(String::as_str).collect();
                out.extend(promised.symmetric_difference(&there).map(|name| format!("{at}.{name}: promised and told differ")));
                for (name, kind, _) in shape(name).fields {
                    if let Some(value) = object.get(*name) {
                        faults(value, *kind, &format!("{at}.{name}"), out);
                    }
                }
                true
            }),
        };
        if !fits {
            out.push(format!("{at}: {value} is no {kind:?}"));
        }
    }

    /// A question to each route that answers from the view, with names that exist in the fixture.
    fn target(route: &Route) -> String {
        let todo = crate::api::fixture::todo("web", "Dark mode", crate::model::todo::Status::InProgress).id;
        let session = crate::api::fixture::leos().to_string();
        let named = match route.path {
            path if path.contains("/todos/{") => todo.to_string(),
            path if path.contains("/session") => session,
            path if path.contains("/agents/") => "sam".into(),
            path if path.contains("/project/") => "web".into(),
            path if path.contains("/sync/") => "agents".into(),
            _ => "mac-mini".into(),
        };
        let mut path = String::new();
        for part in route.path.split('/').skip(1) {
            path.push('/');
            path.push_str(if part.starts_with('{') { &named } else { part });
        }
        let needed = route.query.iter().filter(|(_, needed, _)| *needed);
        let value = |name: &str| if name == "tool" { "claude" } else { "mac-mini" };
        let pairs: Vec<String> = needed.map(|(name, ..)| format!("{name}={}", value(name))).collect();
        if pairs.is_empty() { path } else { format!("{path}?{}", pairs.join("&")) }
    }

    fn judge(route: &Route, raw: &Raw) -> Vec<String> {
        let mut out = Vec::new();
        let kind = raw.header("content-type").unwrap_or_default().to_owned();
        match route.answer {
            Answer::Other(media) => {
                if raw.status == 200 && !kind.starts_with(media) {
                    out.push(format!("{}: {kind} is not {media}", route.path));
                }
            }
            Answer::Bare(promised) => faults(&raw.json(), promised, route.path, &mut out),
            Answer::Enveloped(promised) => {
                let told = raw.json();
                let there: Vec<&str> = told.as_object().expect("an envelope").keys().map(String::as_str).collect();
                let mut needed: Vec<String> = envelope(&Value::Null)["required"]
                    .as_array()
                    .expect("names")
                    .iter()
                    .map(|name| name.as_str().expect("a name").to_owned())
                    .collect();
                needed.sort();
                assert_eq!(there, needed, "{}", route.path);
                faults(&told["data"], promised, route.path, &mut out);
            }
        }
        out
    }

    #[tokio::test]
    async fn what_is_answered_is_what_was_promised() {
        let mut fleet = Fleet::busy();
        fleet.0.strangers.insert("q7".into(), "192.168.1.9:4826".into());
        let house = House::open(fleet.0).await;
        let mut out = Vec::new();
        for route in ROUTES.iter().filter(|route| route.method == Method::Get) {
            // Streams have no end, the core of the fixture exports nothing, assets are named by their hash.
            if ["/api/v3/events", "/api/v3/export", "/assets/{name}", "/api/topic/{name}"].contains(&route.path) {
                continue;
            }
            let target = target(route);
            let raw = get(&house, &target).await;
            let wanted = if route.path == "/" { 303 } else { route.status };
            if raw.status == wanted {
                out.extend(judge(route, &raw))
            } else {
                out.push(format!("{target}: {} {}", raw.status, raw.body))
            }
            let other = control(&house, &format!("GET {target}"), "").await;
            assert_eq!(other.status, raw.status, "{target} on the socket");
        }
        assert_eq!(out, Vec::<String>::new());
        let problem = get(&house, "/api/v3/devices/mac-min").await.json();
        let there: BTreeSet<&str> = problem.as_object().expect("a problem").keys().map(String::as_str).collect();
        let needed: BTreeSet<&str> = shape("Problem").fields.iter().map(|(name, ..)| *name).collect();
        assert!(
            needed.is_subset(&there) && there.difference(&needed).all(|name| ["cause", "fix", "didYouMean"].contains(name)),
            "{problem}"
        );
        house.close().await;
    }

    #[tokio::test]
    async fn every_route_is_promised_and_every_promise_is_a_route() {
        let source = include_str!("routes.rs").split("#[cfg(test)]").next().expect("a source");
        let there: BTreeSet<String> = source
            .split('"')
            .skip(1)
            .step_by(2)
            .filter(|text| text.starts_with('/') && !text.ends_with('/') || *text == "/")
            .map(|text| text.replace("{*", "{"))
            .collect();
        let promised: BTreeSet<String> = ROUTES.iter().map(|route| route.path.to_owned()).collect();
        assert_eq!(there, promised);
        let house = House::open(Fleet::busy().0).await;
        for route in ROUTES.iter().filter(|route| route.method == Method::Post) {
            let target = target(route);
            // No JSON: refused by the handler, whichever it is; only a route that is not there is a 404 without that.
            let there = control(&house, &format!("POST {target}"), "{").await;
            assert!(there.status == 400 || there.status == 501, "{target}: {} {}", there.status, there.body);
            let loopback = crate::api::fixture::say(
                crate::api::fixture::knock(&house).await,
                &format!("POST {target} HTTP/1.1\r\nhost: localhost"),
                "{}",
            )
            .await;
            assert_eq!((loopback.status, loopback.header("allow")), (405, Some("GET, HEAD")), "{target}");
            assert!(loopback.json()["fix"].as_str().is_some_and(|fix| fix.contains("curl --unix-socket") && fix.contains(&target)));
        }
        house.close().await;
    }

    #[test]
    fn every_object_is_told_and_used() {
        let text = TEXT.as_str();
        for shape in shapes() {
            let used = text.matches(&format!("schemas/{}\"", shape.name)).count();
            assert!(used > 0, "{} is promised by no route", shape.name);
        }
        for part in text.split("#/components/schemas/").skip(1) {
            shape(part.split('"').next().expect("a name"));
        }
    }

    #[test]
    fn others_read_it_as_openapi() {
        let read: utoipa::openapi::OpenApi = serde_json::from_str(&TEXT).expect("OpenAPI 3.1");
        assert_eq!(read.paths.paths.len(), ROUTES.iter().map(|route| route.path).collect::<BTreeSet<_>>().len());
        assert_eq!(read.components.expect("components").schemas.len(), shapes().count());
    }

    /// A field that goes, or changes its kind, breaks somebody's script: it shows here, and raises `schema`.
    #[test]
    fn what_was_promised_stays_promised() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        let text = format!("{}\n", TEXT.as_str());
        if std::env::var_os("HUBLESS_WRITE_DOCS").is_some() {
            std::fs::write(&path, &text).expect("docs can be written");
        }
        let frozen = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(frozen == text, "docs/openapi.json is not what the program tells; if that is meant: {AGAIN}");
    }
}
