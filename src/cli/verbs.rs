//! The tree of verbs, and who carries out which.

use clap::{Parser, Subcommand};

use super::agents::Agents;
use super::beat::Beat;
use super::begin::{self, Up};
use super::completions::Completions;
use super::context::Context;
use super::devices::Devices;
use super::doctor::Doctor;
use super::export::Export;
use super::globals::Globals;
use super::help::Help;
use super::hooks::Hooks;
use super::init::Init;
use super::man::Man;
use super::members::Rekey;
use super::open::Open;
use super::pair::{self, Pair};
use super::problem::Trouble;
use super::projects::Projects;
use super::service::Service;
use super::sessions::Sessions;
use super::settings::Settings;
use super::sources::Sources;
use super::status::Status;
use super::sync::Sync;
use super::todos::Todos;
use super::watch::Watch;

/// One picture of all your coding agents on all your machines, without a hub.
#[derive(Debug, Parser)]
#[command(name = "hubless", version, disable_help_subcommand = true, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "The five to remember: status, sessions, todos, beat, doctor.  Topics: hubless help exit-codes|json|states|env")]
pub(crate) struct Line {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// The first step on a device: identity, service, hooks, and what other devices are told
    Init(Init),
    /// Runs the daemon: reads, keeps, finds the other devices, answers
    Up(Up),
    /// Stops the daemon
    Down,
    /// Starts the daemon at login, and keeps it alive
    Service(Service),
    /// Makes two devices one fleet
    #[command(visible_alias = "join")]
    Pair(Pair),
    /// Leaves the fleet and keeps what is here
    Leave,
    /// Gives this device a new key: it becomes a new device and keeps what is here
    Rekey(Rekey),
    /// Does anyone wait, is anything stale, are the devices in step?
    Status(Status),
    /// Who works on what
    #[command(visible_alias = "ps")]
    Agents(Agents),
    /// The devices of the fleet, and the way to them
    Devices(Devices),
    /// Runs of agents on all devices
    Sessions(Sessions),
    /// Who works on which project, and what is left there
    Projects(Projects),
    /// What is left to do, and doing it
    Todos(Todos),
    /// What happens, one line each, as it happens
    Watch(Watch),
    /// The page, in the browser
    Open(Open),
    /// An agent reports
    #[command(visible_alias = "heartbeat")]
    Beat(Beat),
    /// Lets the tools report by themselves what they do
    Hooks(Hooks),
    /// The directories of the tools that are read
    Sources(Sources),
    /// How far apart the devices are
    Sync(Sync),
    /// Everything in one document
    Export(Export),
    /// What is set, by whom, and setting it
    Config(Settings),
    /// One line for each thing that could be wrong, with its fix
    Doctor(Doctor),
    /// What lets a shell complete verbs, flags and names
    Completions(Completions),
    /// The manual pages
    #[command(hide = true)]
    Man(Man),
    /// The version, and those of protocol and JSON
    Version,
    /// Help on a verb or a topic
    Help(Help),
}

impl Line {
    /// Carries it out; returns the exit code.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        self.fits()?;
        let mut globals = self.globals;
        globals.quiet |= matches!(&self.verb, Verb::Status(status) if status.is_oneline());
        // These need no configuration, or mend it.
        if let Verb::Help(help) = self.verb {
            return help.run().map(|()| 0);
        }
        if let Verb::Completions(completions) = self.verb {
            return completions.run().map(|()| 0);
        }
        if let Verb::Man(man) = self.verb {
            return man.run(&globals).map(|()| 0);
        }
        if let Verb::Config(settings) = self.verb {
            return settings.run(globals).map(|()| 0);
        }
        let context = Context::new(globals)?;
        let done = match self.verb {
            Verb::Status(status) => return status.run(&context),
            Verb::Beat(beat) => return beat.run(&context),
            Verb::Watch(watch) => return watch.run(&context),
            Verb::Service(service) => return service.run(&context),
            Verb::Doctor(doctor) => return doctor.run(&context),
            Verb::Sync(sync) => return sync.run(&context),
            Verb::Init(init) => return init.run(context),
            Verb::Up(up) => up.run(&context),
            Verb::Down => begin::down(&context),
            Verb::Pair(pair) => pair.run(&context),
            Verb::Leave => pair::leave(&context),
            Verb::Rekey(rekey) => rekey.run(&context),
            Verb::Agents(agents) => agents.run(&context),
            Verb::Devices(devices) => devices.run(&context),
            Verb::Sessions(sessions) => sessions.run(&context),
            Verb::Projects(projects) => projects.run(&context),
            Verb::Sources(sources) => sources.run(&context),
            Verb::Todos(todos) => todos.run(&context),
            Verb::Hooks(hooks) => hooks.run(&context),
            Verb::Export(export) => export.run(&context),
            Verb::Open(open) => open.run(&context),
            Verb::Version => begin::version(&context),
            Verb::Config(_) | Verb::Completions(_) | Verb::Man(_) | Verb::Help(_) => Ok(()),
        };
        done.map(|()| 0)
    }

    /// A flag that stands anywhere still has no meaning everywhere; passing over it would hide a mistake.
    fn fits(&self) -> Result<(), Trouble> {
        let (filters, rows) = match &self.verb {
            Verb::Agents(_) | Verb::Sessions(_) | Verb::Todos(_) | Verb::Watch(_) => (true, true),
            Verb::Sync(sync) => (true, sync.is_list()),
            Verb::Status(_) => (true, false),
            Verb::Devices(_) | Verb::Doctor(_) => (false, true),
            Verb::Sources(sources) => (false, sources.is_list()),
            Verb::Config(settings) => (false, settings.is_list()),
            Verb::Init(_)
            | Verb::Up(_)
            | Verb::Down
            | Verb::Service(_)
            | Verb::Pair(_)
            | Verb::Leave
            | Verb::Rekey(_)
            | Verb::Beat(_)
            | Verb::Open(_)
            | Verb::Projects(_)
            | Verb::Hooks(_)
            | Verb::Export(_)
            | Verb::Completions(_)
            | Verb::Man(_)
            | Verb::Version
            | Verb::Help(_) => (false, false),
        };
        let mixed = match &self.verb {
            Verb::Agents(agents) => agents.is_mixed(),
            Verb::Devices(devices) => devices.is_mixed(),
            Verb::Sessions(sessions) => sessions.is_mixed(),
            Verb::Todos(todos) => todos.is_mixed(),
            Verb::Init(_)
            | Verb::Up(_)
            | Verb::Down
            | Verb::Service(_)
            | Verb::Pair(_)
            | Verb::Leave
            | Verb::Rekey(_)
            | Verb::Status(_)
            | Verb::Beat(_)
            | Verb::Open(_)
            | Verb::Watch(_)
            | Verb::Projects(_)
            | Verb::Sources(_)
            | Verb::Hooks(_)
            | Verb::Sync(_)
            | Verb::Export(_)
            | Verb::Config(_)
            | Verb::Doctor(_)
            | Verb::Completions(_)
            | Verb::Man(_)
            | Verb::Version
            | Verb::Help(_) => false,
        };
        if mixed {
            return Err(Trouble::usage("flags of the list stand before another verb").fix("put them behind it, or leave it out"));
        }
        let given = [
            ("--device", self.globals.device.is_some(), filters),
            ("--limit", self.globals.limit.is_some(), rows),
            ("--jsonl", self.globals.jsonl, rows),
        ];
        match given.into_iter().find(|(_, is_given, fits)| *is_given && !fits) {
            Some((flag, _, _)) => Err(Trouble::usage(format!("{flag} has no meaning for this verb")).fix("leave it out")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn read(line: &str) -> Result<Line, clap::Error> {
        Line::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_tree_is_sound() {
        Line::command().debug_assert();
    }

    #[test]
    fn flags_stand_anywhere_and_verbs_are_not_guessed() {
        let lines = [
            "hubless --json status",
            "hubless status --json",
            "hubless todos ready --json --limit 0",
            "hubless todos --json --limit 1 list --all",
            "hubless todos -q add x",
            "hubless agents --json show sam",
            "hubless sessions --limit 1 list",
            "hubless devices --json ping mac",
            "hubless agents --spoke mac",
        ];
        for line in lines {
            let read = read(line);
            assert!(read.as_ref().is_ok_and(|line| line.fits().is_ok()), "{line}: {read:?}");
        }
        assert!(read("hubless agents list --spoke mac").expect("read").globals.device.is_some());
        for line in ["hubless stat", "hubless todos ad x", "hubless", "hubless status --nope"] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_flag_without_meaning_is_wrong_usage() {
        let lines = [
            "hubless up --device x",
            "hubless beat sam --limit 1",
            "hubless status --jsonl",
            "hubless todos --all add x",
            "hubless devices --all ping x",
            "hubless sessions --tool pi list",
            "hubless sources rescan --limit 1",
            "hubless projects --limit 1",
        ];
        for line in lines {
            assert!(read(line).expect("read").fits().is_err(), "{line}");
        }
    }

    #[test]
    fn the_verbs_of_the_contract_are_there() {
        for line in [
            "x init",
            "x init --name attic --yes --no-service --no-hooks",
            "x up --detach",
            "x down",
            "x pair --ticket",
            "x pair TICKET",
            "x pair 318-4402-771 --addr 192.168.1.20:4831",
            "x pair --qr",
            "x leave",
            "x rekey --yes",
            "x devices revoke mac --forget-data --yes",
            "x devices rename mac attic",
            "x status mac-mini --check",
            "x devices",
            "x devices ping mac",
            "x agents show sam",
            "x sessions list --since 7d",
            "x todos",
            "x todos add a b c --project p -p 1 --as sam",
            "x todos history t-1",
            "x todos conflicts",
            "x beat sam AGT-280 src/retry.rs --every 60s --pid 7",
            "x heartbeat sam",
            "x beat sam AGT-280 -- claude -p fix",
            "x status -w",
            "x status --oneline --check",
            "x watch --type agent,todo --jsonl --since 7",
            "x open --print",
            "x config get http.port",
            "x config set http.port 1",
            "x config set http.port --default",
            "x config path",
            "x config show --origin",
            "x hooks install claude --dry-run",
            "x hooks uninstall all --yes",
            "x hooks status",
            "x sync status",
            "x sync pause mac",
            "x sync list --device mac",
            "x sync run --dry-run --spoke mac",
            "x sync verify --repair",
            "x sync resume",
            "x sources",
            "x sources status --limit 0",
            "x sources rescan",
            "x sources backfill",
            "x sources pause claude",
            "x sources resume claude-todos-2",
            "x projects",
            "x projects api-server --json",
            "x export --format automerge -o out",
            "x doctor",
            "x doctor --fix --json",
            "x doctor --bundle report.tar.gz",
            "x completions bash",
            "x man",
            "x service install --print",
            "x service uninstall",
            "x service status --json",
            "x service logs -f -n 20",
            "x version",
            "x help exit-codes",
        ] {
            assert!(read(line).is_ok(), "{line}: {:?}", read(line).err());
        }
        assert!(read("x pair TICKET --ticket").is_err() && read("x pair --addr h:1").is_err());
    }
}
