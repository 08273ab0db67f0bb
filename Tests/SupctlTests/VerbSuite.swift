import ControlAPI
import Platform
import TestSupport

@testable import supctl

/// Tests of verbs, each with a directory of its own for the socket of a daemon.
protocol VerbSuite {
    var directory: TemporaryDirectory { get }
}

extension VerbSuite {
    /// The socket's path.
    var path: String { directory.file("control.sock") }

    func run(_ arguments: String...) -> Outcome { run(arguments) }

    func run(_ arguments: [String]) -> Outcome { runWithSocket(path, arguments) }
}

/// What a run of supctl left.
struct Outcome {
    var code: Int32
    var output: String
    var errors: String
}

/// Runs supctl in this process, on no terminal.
func runWithSocket(_ path: String, _ arguments: [String]) -> Outcome {
    let written = Written()
    let plain = Terminal(isTerminal: false, width: nil, allowsColour: false)
    let console = Console(
        output: plain, error: plain,
        writeOutput: { bytes throws(SystemError) in written.output.withLock { $0 += bytes } },
        note: { text in written.errors.withLock { $0 += text } })
    let code = runSupctl(["--socket", path] + arguments, console: console).rawValue
    return Outcome(
        code: code, output: String(decoding: written.output.withLock { $0 }, as: UTF8.self),
        errors: written.errors.withLock { $0 })
}

private final class Written: Sendable {
    let output = Lock<[UInt8]>([])
    let errors = Lock("")
}

extension ScriptedServer.Reply {
    static func answer(_ status: Int, _ body: String) -> Self {
        .bytes(HTTPAnswer.complete(status: status, body: Array(body.utf8), closes: true))
    }

    static func json(_ value: some Encodable, status: Int = 200) -> Self {
        .bytes(HTTPAnswer.complete(status: status, body: ControlJSON.encode(value) ?? [], closes: true))
    }

    static func lines(_ lines: [ProgressLine]) -> Self {
        let chunks = lines.flatMap { HTTPAnswer.chunk((ControlJSON.encode($0) ?? []) + [UInt8(ascii: "\n")]) }
        return .bytes(
            HTTPAnswer.streamHead(status: 200, chunked: true, closes: true) + chunks + HTTPAnswer.lastChunk)
    }
}
