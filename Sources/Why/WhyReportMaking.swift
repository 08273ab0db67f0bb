package import ControlAPI
package import Events
import Platform

extension WhyReport {
    /// Puts an answer together, the same one for whoever asks: supctl, and the web role for the page. What it rests on all has
    /// to be given, so that neither can leave out what the other one tells.
    ///
    /// - Parameters:
    ///   - asked: The services and instances that are asked about, with their limits where it is a single service.
    ///   - all: All services.
    ///   - events: All that are kept, the oldest first.
    ///   - usage: What was used in the last hour; nil: nobody can tell, and the rest is worth having.
    ///   - balancer: What the balancer has counted; nil: it does not answer, and the rest is worth having.
    ///   - memoryKills: How many processes the kernel has ended for want of memory.
    ///   - now: Nanoseconds since 1970.
    ///   - onlyTrouble: Whether what is as it should be is left out.
    ///   - log: The last lines that an instance wrote between two times, in nanoseconds since 1970, both included.
    package init(
        about asked: StatusReport, among all: StatusReport, events: [EventRecord], usage: UsageReport?,
        balancer: BalancerReport?, memoryKills: UInt64?, now: Int64, onlyTrouble: Bool = false,
        log: @escaping (_ instance: String, _ from: Int64?, _ to: Int64?) -> [String]
    ) {
        var reasoning = WhyReasoning(
            report: all, events: events, anHourAgo: WallClock.text(nanoseconds: now - 3_600_000_000_000),
            memoryKills: memoryKills
        ) { instance, from, to in
            log(
                instance, from.flatMap { TimeArgument.read($0, now: now) },
                to.flatMap { TimeArgument.read($0, now: now) })
        }
        reasoning.usage = Dictionary(
            (usage?.instances ?? []).map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        reasoning.balanced = Dictionary(
            (balancer?.services ?? []).flatMap(\.instances).map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first }
        )
        reasoning.ignores = ProcessSignals.ignores
        reasoning.processState = { ProcessTable.entry(of: $0)?.state }
        let answers = onlyTrouble ? reasoning.troubles() : asked.services.flatMap(reasoning.answers)
        self.init(supd: reasoning.supdAnswers(), answers: answers)
    }
}
