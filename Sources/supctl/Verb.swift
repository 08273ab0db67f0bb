import ControlAPI
import Platform

/// What supctl exits with.
enum ExitCode: Int32, Sendable {
    /// Done; for status: all that is wanted is up.
    case done = 0
    /// It was not done, or not in time.
    case failed = 1
    /// The command line makes no sense.
    case usage = 2
    /// Status: something that is wanted is not up.
    case notUp = 3
    /// A name matches no service or instance.
    case noSuchName = 4
    /// There is no daemon at the socket.
    case noDaemon = 5
}

/// Why a verb ended early.
struct VerbFailure: Error {
    var code: ExitCode
    /// For people, without the program's name.
    var message: String

    init(_ code: ExitCode, _ message: String) {
        self.code = code
        self.message = message
    }

    init(_ error: ControlClientError) {
        code = ExitCode(rawValue: error.exitCode) ?? .failed
        message = error.description
    }
}

/// One verb of the command line.
struct Verb: Sendable {
    /// One `--option`.
    struct Option: Sendable {
        /// With its dashes: `--timeout`.
        var name: String
        /// With its dash: `-n`.
        var short: String?
        /// What its value is called in the help; nil if it takes none.
        var value: String?
        var summary: String

        init(_ name: String, short: String? = nil, value: String? = nil, _ summary: String) {
            self.name = name
            self.short = short
            self.value = value
            self.summary = summary
        }
    }

    /// What its operands are, for completion.
    enum Operands: Sendable {
        case none, names, signalAndNames, namesAndLimits, counts, file, shell, verb
    }

    var name: String
    /// The operands as the help shows them: `NAME…`.
    var synopsis: String
    var summary: String
    /// More for `help VERB`.
    var details: String
    var options: [Option] = []
    var operands: Operands
    /// Not in the help: for other programs.
    var isHidden = false
    var run: @Sendable (Invocation) throws(VerbFailure) -> ExitCode
}

/// Options that every verb takes.
let commonOptions = [
    Verb.Option("--socket", value: "PATH", "the daemon's control socket, in place of the usual one"),
    Verb.Option("--help", short: "-h", "this help"),
]

/// All verbs, in the order of the help.
let allVerbs: [Verb] = [
    statusVerb, whyVerb, topVerb, usageVerb, startVerb, stopVerb, restartVerb, drainVerb, undrainVerb, balancerVerb,
    logsVerb,
    eventsVerb, metricsVerb, signalVerb, limitVerb, scaleVerb, checkVerb, applyVerb, promoteVerb, historyVerb,
    rollbackVerb, upgradeVerb, shutdownVerb, versionVerb, completionVerb, helpVerb, namesVerb,
]

/// A verb with what it was given.
struct Invocation {
    let line: CommandLineReader.Line
    let console: Console

    var operands: [String] { line.operands }

    /// Whether an option without value was given.
    func has(_ option: String) -> Bool { line.options[option] != nil }

    /// The value of an option; nil if it was not given.
    func value(_ option: String) -> String? { line.options[option] }

    /// Says that the command line is wrong.
    func misused(_ message: String) -> VerbFailure {
        let mark = message.hasSuffix("?") ? "" : ";"
        return VerbFailure(.usage, "\(message)\(mark) see \"supctl help \(line.verb?.name ?? "")\"")
    }

    /// The names given, of which there must be at least one.
    func requireNames() throws(VerbFailure) -> [String] {
        guard !operands.isEmpty else { throw misused("which service? name one, or say all") }
        return try checked(operands)
    }

    /// Names that can be sent: none is empty, and all fit into a request.
    func checked(_ names: [String]) throws(VerbFailure) -> [String] {
        guard !names.contains("") else { throw misused("an empty name names nothing") }
        let length = ControlRoute.status(names: names, limits: true).request.target.utf8.count
        guard length < HTTPLimits.startLine - 256 else {
            throw misused("too many names for one request; use a glob like \"web-*\", or all")
        }
        return names
    }

    /// Refuses operands.
    func requireNoOperands() throws(VerbFailure) {
        if let first = operands.first { throw misused("\"\(first)\" is one word too many") }
    }

    /// A client of the daemon that was meant.
    func client() throws(VerbFailure) -> ControlClient {
        if let path = value("--socket") {
            guard !path.isEmpty else { throw misused("the path of the socket is empty") }
            return ControlClient(socketPath: path)
        }
        return ControlClient(socketPath: try directories().controlSocket)
    }

    /// The directories that a daemon of this user has.
    func directories() throws(VerbFailure) -> Directories {
        do throws(Directories.Failure) {
            return try Directories()
        } catch {
            throw VerbFailure(.noDaemon, "cannot tell where the daemon's socket is: \(error); or give --socket")
        }
    }
}

/// Talks to the daemon, with its errors turned into this program's.
func asking<Answer>(_ body: () throws(ControlClientError) -> Answer) throws(VerbFailure) -> Answer {
    do throws(ControlClientError) {
        return try body()
    } catch {
        throw VerbFailure(error)
    }
}
