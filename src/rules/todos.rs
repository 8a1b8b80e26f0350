//! stub
use crate::model::id::*;
use crate::model::time::Stamp;
use crate::model::todo::*;
use crate::model::view::*;
use std::collections::*;
#[derive(Default)]
pub struct Todos;
pub struct Settled {
    pub todos: BTreeMap<TodoId, Option<TodoView>>,
    pub moved: BTreeMap<TodoId, Option<Vec<TodoId>>>,
    pub conflicts: BTreeMap<TodoId, Vec<Conflict>>,
}
impl Todos {
    pub fn learn(&mut self, _: TodoFact) {}
    pub fn learn_session(&mut self, _: SessionId, _: Option<&str>) {}
    pub fn learn_alias(&mut self, _: &str, _: &str, _: Stamp, _: ActId) {}
    pub fn settle(&mut self) -> Settled {
        todo!()
    }
    pub fn item(&self, _: ItemId) -> Option<&ItemFact> {
        None
    }
    pub fn seen(&self, _: ItemId) -> Option<&SeenFact> {
        None
    }
    pub fn act(&self, _: ActId) -> Option<&ActFact> {
        None
    }
    pub fn session_items(&self, _: SessionId) -> impl Iterator<Item = (ItemId, &SeenFact, TodoId)> {
        std::iter::empty()
    }
}
pub mod reading {
    use super::*;
    pub fn read(_: &Todos, _: &List, _: DeviceId, _: &Reading, _: i64) -> Vec<TodoFact> {
        vec![]
    }
}
pub mod deeds {
    use super::*;
    pub struct Decision {
        pub facts: Vec<TodoFact>,
        pub todo: TodoId,
        pub created: bool,
    }
    pub fn decide(
        _: &Todos,
        _: &crate::model::ask::TodoDeed,
        _: &By,
        _: Stamp,
        _: ActId,
    ) -> Result<Decision, crate::model::reply::Refusal> {
        todo!()
    }
}
