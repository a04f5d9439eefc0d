//! What a list of words asks for.

/// What `help` prints.
pub const HELP: &str = "\
help                  this list
host id               this node's peer id
host addrs            where this node listens
host peers            the peers that it is connected to, one a line
executor echo WORDS   what the host's executor makes of the words
exit [CODE]           leave, with the last command's status unless a code is given
NAME [ARGS]           run NAME.wasm from a directory of PATH
";

/// A command, understood.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// No words.
    Nothing,
    /// Print [`HELP`].
    Help,
    /// Print the node's peer id.
    HostId,
    /// Print where the node listens.
    HostAddrs,
    /// Print the node's peers.
    HostPeers,
    /// Have the executor return a message.
    Echo(String),
    /// Leave, with this code or the last status.
    Exit(Option<u8>),
    /// Run a program: its name, and the arguments that follow it.
    Run(String, Vec<String>),
    /// Not understood: how to write it.
    Misused(&'static str),
}

/// Understands a list of words.
pub fn parse(words: Vec<String>) -> Command {
    let mut words = words.into_iter();
    let Some(name) = words.next() else {
        return Command::Nothing;
    };
    let args: Vec<String> = words.collect();
    let texts: Vec<&str> = args.iter().map(String::as_str).collect();
    match (name.as_str(), texts.as_slice()) {
        ("help", _) => Command::Help,
        ("host", ["id"]) => Command::HostId,
        ("host", ["addrs"]) => Command::HostAddrs,
        ("host", ["peers"]) => Command::HostPeers,
        ("host", _) => Command::Misused("host id|addrs|peers"),
        ("executor", ["echo", words @ ..]) => Command::Echo(words.join(" ")),
        ("executor", _) => Command::Misused("executor echo WORDS"),
        ("exit", []) => Command::Exit(None),
        ("exit", [code]) => match code.parse() {
            Ok(code) => Command::Exit(Some(code)),
            Err(_) => Command::Misused("exit [CODE], a number from 0 to 255"),
        },
        ("exit", _) => Command::Misused("exit [CODE]"),
        _ => Command::Run(name, args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Command {
        parse(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn builtins_are_understood() {
        assert_eq!(parsed(""), Command::Nothing);
        assert_eq!(parsed("help me"), Command::Help);
        assert_eq!(parsed("host id"), Command::HostId);
        assert_eq!(parsed("host addrs"), Command::HostAddrs);
        assert_eq!(parsed("host peers"), Command::HostPeers);
        assert_eq!(parsed("executor echo a b"), Command::Echo("a b".into()));
        assert_eq!(parsed("executor echo"), Command::Echo(String::new()));
        assert_eq!(parsed("exit"), Command::Exit(None));
        assert_eq!(parsed("exit 7"), Command::Exit(Some(7)));
    }

    #[test]
    fn a_misused_builtin_is_not_a_program() {
        for line in [
            "host",
            "host id x",
            "executor",
            "executor run",
            "exit x",
            "exit 256",
            "exit 1 2",
        ] {
            assert!(matches!(parsed(line), Command::Misused(_)), "{line}");
        }
    }

    #[test]
    fn any_other_name_is_a_program() {
        let run = Command::Run("hostid".into(), vec!["-v".into()]);
        assert_eq!(parsed("hostid -v"), run);
    }
}
