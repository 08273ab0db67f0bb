import ControlAPI
import Dispatch
import Links
import Platform

/// Questions to the control API: the supervisor gives a connection for each.
final class UpstreamPool {
    /// So many at a time; the supervisor gives no more.
    private static let most = 24

    private let queue: DispatchQueue
    private let limits: WebLimits
    private let ask: (WebNotice) -> Void
    private var lastNumber: UInt64 = 0
    private var all: [UInt64: Upstream] = [:]
    private var unconnected: Set<UInt64> = []

    init(queue: DispatchQueue, limits: WebLimits, ask: @escaping (WebNotice) -> Void) {
        self.queue = queue
        self.limits = limits
        self.ask = ask
    }

    /// Asks; nil if too much is asked already. `tell` is never called from within.
    func open(_ request: HTTPRequest, isStream: Bool, tell: @escaping (Upstream.Event) -> Void) -> Upstream? {
        forgetThoseOver()
        guard all.count < Self.most else { return nil }
        lastNumber += 1
        let upstream = Upstream(request, isStream: isStream, queue: queue, limits: limits, tell: tell)
        all[lastNumber] = upstream
        unconnected.insert(lastNumber)
        ask(.connect(number: lastNumber))
        return upstream
    }

    /// The answer to one `connect`.
    func connected(_ number: UInt64, _ descriptor: Descriptor?) {
        guard unconnected.remove(number) != nil else { return }
        all[number]?.connected(descriptor)
    }

    /// There is another supervisor, which knows nothing of what was asked before.
    func askAgain() {
        for number in unconnected.sorted() { ask(.connect(number: number)) }
    }

    func timePassed(to now: Int64) {
        for upstream in Array(all.values) { upstream.timePassed(to: now) }
        forgetThoseOver()
    }

    private func forgetThoseOver() {
        all = all.filter { !$0.value.isOver }
        unconnected.formIntersection(all.keys)
    }
}
