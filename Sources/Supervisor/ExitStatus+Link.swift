import Links
import Supervision

extension ExitStatus {
    /// What the keeper tells of an exit.
    init(_ exit: ChildExit) {
        switch exit {
        case .code(let code): self = .code(code)
        case .signal(let number, let coreDumped): self = .signal(number, coreDumped: coreDumped)
        }
    }
}
