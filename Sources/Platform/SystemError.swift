import Glibc

/// A failed system call: which call, on what, and the errno it left.
package struct SystemError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The name of the call, as in its manual page (`openat`, `bind`).
    package var call: String
    /// The errno value.
    package var code: Int32
    /// What the call was about: a path, an address; empty when there is nothing to add.
    package var subject: String

    /// Creates an error from its parts.
    package init(call: String, code: Int32, subject: String = "") {
        self.call = call
        self.code = code
        self.subject = subject
    }

    /// The reason in words, by strerror_r(3): "Permission denied".
    package var reason: String { errorMessage(code) }

    package var description: String {
        subject.isEmpty ? "\(call): \(reason)" : "\(call) \(subject): \(reason)"
    }
}

/// The text of an errno value, by strerror_r(3).
package func errorMessage(_ code: Int32) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
        guard let base = buffer.baseAddress else { return "error \(code)" }
        base.initialize(to: 0)
        guard strerror_r(code, base, buffer.count) == 0 else { return "error \(code)" }
        return String(cString: base)
    }
}

/// Forced failures for tests: the n-th call of a name fails with a given errno. Inherited by the current task only,
/// so that tests running side by side do not see each other's faults.
package final class FaultPlan: Sendable {
    /// The plan in force for the running task; nil outside tests.
    @TaskLocal package static var current: FaultPlan?

    private let decide: @Sendable (_ call: String, _ count: Int) -> Int32?
    private let counts = CallCounts()

    /// Creates a plan; `decide` gets the call's name and how often it was made (from 1), and returns the errno to fail
    /// with, or nil to let the call through.
    package init(_ decide: @escaping @Sendable (_ call: String, _ count: Int) -> Int32?) {
        self.decide = decide
    }

    /// The errno that this call must fail with, if any.
    package func fault(_ call: String) -> Int32? { decide(call, counts.increment(call)) }
}

/// Runs a system call that returns -1 on failure: repeats it on EINTR, throws `SystemError` on any other errno, and
/// honours a test's `FaultPlan`.
@inline(__always) @discardableResult
package func systemCall<Result: FixedWidthInteger & SignedInteger>(
    _ name: StaticString, _ subject: @autoclosure () -> String = "", _ body: () -> Result
) throws(SystemError) -> Result {
    #if DEBUG
        if let plan = FaultPlan.current, let code = plan.fault(name.description) {
            throw SystemError(call: name.description, code: code, subject: subject())
        }
    #endif
    while true {
        let result = body()
        if result != -1 { return result }
        let code = errno
        if code == EINTR { continue }
        throw SystemError(call: name.description, code: code, subject: subject())
    }
}
