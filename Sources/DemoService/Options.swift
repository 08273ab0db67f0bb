/// What the command line asks for. The first group is the service; the others misbehave on purpose, for tests of
/// whoever supervises it.
struct Options {
    /// What the process does.
    enum Mode: Equatable {
        /// Answers HTTP until SIGTERM.
        case serve
        /// Prints a few lines and exits with 0.
        case task
        /// Tries to use more of a resource than its limit.
        case leak(Resource)
        /// Sleeps: what `--grandchild-holds-output` and `--daemonize-child` start.
        case sleep
        /// Starts a sleeper in a session of its own and exits: the middle process of `--daemonize-child`.
        case daemonize
    }

    /// What `--leak` takes: the names of the limits in a manifest.
    enum Resource: String, CaseIterable {
        case `as`, core, cpu, data, fsize, memlock, nofile, nproc, stack
    }

    /// What the process does.
    var mode = Mode.serve
    /// How long to wait after each step of `--leak`, where that is memory.
    var leakPause = Duration.zero
    /// How long to wait before listening.
    var readyDelay = Duration.zero
    /// Ends by itself after this time; nil: never.
    var exitAfter: Duration?
    /// The exit code of `--exit-after` and of a task.
    var exitCode: Int32 = 0
    /// Whether SIGTERM and SIGINT do nothing.
    var ignoresTermination = false
    /// Whether a child is started that keeps the output open after this process is gone.
    var grandchildHoldsOutput = false
    /// Whether a process is started that leaves group and session.
    var daemonizesChild = false
    /// Whether the environment is printed first.
    var printsEnvironment = false
    /// Whether open descriptors, signal masks, group and session are printed first.
    var printsDescriptors = false
    /// How many numbered lines are printed first.
    var floodLines = 0
    /// The length of such a line in bytes, without the newline.
    var floodSize = 100
    /// Whether the listening socket is the one that LISTEN_FDS tells of, in place of one of its own.
    var takesListener = false
    /// Whether NOTIFY_SOCKET is told when it listens, and when it stops.
    var notifies = false
    /// What else it is told then.
    var status: String?
    /// After this time the watchdog is fed no more; nil: never.
    var silentAfter: Duration?
    /// Whether requests are not logged.
    var isQuiet = false

    /// The text of `--help`.
    static let usage = """
        Usage: demo-service [OPTION]…

        A tiny HTTP/1.1 service on $HOST:$PORT. GET /, /healthz, /work?ms=N, /call?service=NAME (asks the service at
        $NAME_ADDRESS), /sick?how=error|hang|no (what becomes of /healthz), /crash. SIGTERM: finishes what it has begun and exits with 0.

          --task                      print a few lines and exit
          --quiet                     do not log requests
          --ready-delay TIME          wait before listening ("500ms", "2s")
          --listen-fd                 serve on descriptor 3, which $LISTEN_FDS and $LISTEN_PID tell of
          --notify                    say READY=1 to $NOTIFY_SOCKET, feed the watchdog of $WATCHDOG_USEC
          --status TEXT               … and say this as STATUS

        Misbehaviour, for tests:
          --exit-after TIME           exit by itself
          --exit-code N               … with this code (also of a task)
          --silent-after TIME         feed the watchdog no longer than this
          --ignore-term               SIGTERM and SIGINT do nothing
          --grandchild-holds-output   leave a child behind that keeps stdout open
          --daemonize-child           leave a process behind in a session of its own
          --flood N, --size S         print N numbered lines of S bytes
          --print-environment         print the environment
          --print-descriptors         print open descriptors, signal masks, process group and session
          --leak RESOURCE             use it up and say what happened: \
        \(Resource.allCases.map(\.rawValue).joined(separator: ", ")). Exit code 0: refused, 4: no limit met
          --leak-pause TIME           of memory: store something in each MiB (64 KiB if locked), and wait after it
        """
}

/// A command line that cannot be understood.
struct UsageError: Error {
    /// What is wrong, for people.
    let message: String
}

extension Options {
    /// Reads the arguments after the program's name; nil: help was asked for.
    static func parse(_ arguments: [String]) throws(UsageError) -> Options? {
        var options = Options()
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            switch argument {
            case "--task": options.mode = .task
            case "--sleep": options.mode = .sleep
            case "--daemonize": options.mode = .daemonize
            case "--leak": options.mode = .leak(try value(of: argument, from: &rest, Resource.init(rawValue:)))
            case "--leak-pause": options.leakPause = try value(of: argument, from: &rest, duration)
            case "--ready-delay": options.readyDelay = try value(of: argument, from: &rest, duration)
            case "--exit-after": options.exitAfter = try value(of: argument, from: &rest, duration)
            case "--exit-code": options.exitCode = try value(of: argument, from: &rest) { Int32($0) }
            case "--ignore-term": options.ignoresTermination = true
            case "--grandchild-holds-output": options.grandchildHoldsOutput = true
            case "--daemonize-child": options.daemonizesChild = true
            case "--print-environment": options.printsEnvironment = true
            case "--print-descriptors": options.printsDescriptors = true
            case "--flood": options.floodLines = try value(of: argument, from: &rest) { count($0, upTo: 100_000_000) }
            case "--size": options.floodSize = try value(of: argument, from: &rest) { count($0, upTo: 1 << 24) }
            case "--listen-fd": options.takesListener = true
            case "--notify": options.notifies = true
            case "--status": options.status = try value(of: argument, from: &rest) { $0 }
            case "--silent-after": options.silentAfter = try value(of: argument, from: &rest, duration)
            case "--quiet": options.isQuiet = true
            case "--help", "-h": return nil
            default: throw UsageError(message: "unknown option \(argument); --help lists them")
            }
        }
        return options
    }

    private static func value<Value>(
        of option: String, from rest: inout ArraySlice<String>, _ read: (String) -> Value?
    ) throws(UsageError) -> Value {
        guard let text = rest.popFirst() else { throw UsageError(message: "\(option) needs a value") }
        guard let value = read(text) else { throw UsageError(message: "\(option): \(text) is no value for it") }
        return value
    }

    private static func count(_ text: String, upTo limit: Int) -> Int? {
        Int(text).flatMap { (0...limit).contains($0) ? $0 : nil }
    }

    private static func duration(_ text: String) -> Duration? {
        if text.hasSuffix("ms") { return count(String(text.dropLast(2)), upTo: 86_400_000).map { .milliseconds($0) } }
        if text.hasSuffix("s") { return count(String(text.dropLast(1)), upTo: 86_400).map { .seconds($0) } }
        return nil
    }
}
