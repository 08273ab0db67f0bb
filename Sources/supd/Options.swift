/// The command line of supd.
struct Options {
    /// What to do.
    enum Action {
        /// Run the daemon.
        case run
        /// Only check the manifest.
        case check
        /// Print a text and end.
        case version, help
        /// Say whether this program can take over what a keeper has: it is the keeper that asks.
        case trial
    }

    var action = Action.run
    var manifest: String?
    var runtimeDirectory: String?
    var stateDirectory: String?
    var logDirectory: String?

    /// A command line that cannot be understood.
    struct UsageError: Error {
        var text: String
    }

    /// Reads the arguments after the program's name.
    init(_ arguments: [String]) throws(UsageError) {
        var rest = arguments[...]
        var onlyNames = false
        while let argument = rest.popFirst() {
            guard !onlyNames, argument.hasPrefix("-"), argument != "-" else {
                guard manifest == nil else {
                    throw UsageError(text: "one manifest, not two: \(manifest ?? "") and \(argument)")
                }
                manifest = argument
                continue
            }
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let name = parts.first ?? argument
            func value() throws(UsageError) -> String {
                guard let text = parts.count == 2 ? parts[1] : rest.popFirst(), !text.isEmpty else {
                    throw UsageError(text: "\(name) needs a directory")
                }
                return text
            }
            switch name {
            case "--": onlyNames = true
            case "--check": action = .check
            case "--version", "-V": action = .version
            case "--help", "-h": action = .help
            case "--trial": action = .trial
            case "--runtime-directory": runtimeDirectory = try value()
            case "--state-directory": stateDirectory = try value()
            case "--log-directory": logDirectory = try value()
            default: throw UsageError(text: "unknown option \(argument)")
            }
        }
    }

    /// The text of --help.
    static let help = """
        supd runs the services of a manifest: it starts, watches and restarts their processes, and balances
        connections over them. It stays in the foreground; supctl is its client.

        usage: supd [MANIFEST] [options]

          MANIFEST                   the manifest (./supd.json5, else /etc/supd/supd.json5)
          --check                    only check the manifest, warn of what this machine lacks for it: 0 if it is valid,
                                     1 if not
          --runtime-directory D      the control socket and the lock ($RUNTIME_DIRECTORY, else /run/supd for root,
                                     $XDG_RUNTIME_DIR/supd for others)
          --state-directory D        what outlives a restart ($STATE_DIRECTORY, else /var/lib/supd or
                                     $XDG_STATE_HOME/supd)
          --log-directory D          the services' logs ($LOGS_DIRECTORY, else /var/log/supd or
                                     $XDG_STATE_HOME/supd/log)
          --version                  print the version
          --help                     print this

        SIGTERM and SIGINT stop all services in order; a second one ends them at once.
        Exit codes: 0 stopped as asked, 1 failed, 2 wrong usage, or another supd has one of the directories.
        """
}
