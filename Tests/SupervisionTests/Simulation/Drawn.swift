import Events

@testable import Supervision

/// What a schedule may come to, so that it can be counted how many come to all of it.
enum Drawn: String, CaseIterable {
    case rolling, canary, blueGreen, restart, scaled, scaledItself, hindered, asleep, supervisor, balancer, upgrade

    /// How many schedules have come to each, for people.
    static func summary(_ schedules: [Set<Drawn>]) -> String {
        let each = allCases.map { one in "\(one) \(schedules.count { $0.contains(one) })" }
        let whole = schedules.count { $0.count == allCases.count }
        return "\(each.joined(separator: ", ")); all of it in \(whole) of \(schedules.count)"
    }

    /// All that changes services, and all roles lost: what may come together in one schedule.
    static let together: Set<Drawn> = Set(allCases).subtracting([.hindered])

    /// What some of 800 schedules come to. A trial of a canary is drawn in fewer.
    static let expected = together.subtracting([.canary])
}

extension World {
    /// Looks what there is after a turn.
    mutating func noteDrawn() {
        for rollout in app.deployments.lazy.flatMap(\.rollouts) where !rollout.isWaiting {
            if rollout.isRestart {
                drawn.insert(.restart)
            } else if rollout.blueGreen != nil {
                drawn.insert(.blueGreen)
            } else if rollout.canary?.until != nil {
                drawn.insert(.canary)
            } else {
                drawn.insert(.rolling)
            }
        }
        if app.told.scaleHindrances != nil { drawn.insert(.hindered) }
        if app.facts.contains(where: \.isAsleep) { drawn.insert(.asleep) }
    }
}
