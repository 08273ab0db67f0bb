import Links
import Platform
import Supervision

extension ExitStatus {
    /// What the keeper tells of an exit.
    init(_ exit: ChildExit) {
        switch exit {
        case .code(let code): self = .code(code)
        case .signal(let number, let coreDumped): self = .signal(number, coreDumped: coreDumped)
        }
    }

    /// For people: `exit code 1`, `SIGKILL`.
    var text: String {
        switch self {
        case .code(let code): "exit code \(code)"
        case .signal(let number, _): Signals.name(of: number) ?? "signal \(number)"
        }
    }
}
