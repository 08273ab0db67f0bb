/// How often schedules have led to what they are about: an invariant about what never happens holds without saying anything.
struct Tally {
    enum Subject: String, CaseIterable {
        case heir = "restarts by standing order"
        case healthRestart = "restarts for health"
        case apply = "manifests applied"
        case replacement = "instances replaced a few at a time"
        case turnedBack = "such replacements that went back halfway"
        case leftOut = "services that went back without a dependency that was turned round"
        case switchOver = "sets of new instances taken over to at once"
        case recall = "rollouts sent back by a stop"
        case trialBegun = "trials begun"
        case trialPassed = "trials passed in silence"
        case trialPromoted = "trials ended by a promotion"
        case trialSentBack = "trials sent back"
        case scaledByHand = "scaled by hand"
        case scaledItself = "scaled by themselves, as the load said"
        case supervisorLost = "supervisors lost"
        case balancerLost = "balancers lost"
        case upgrade = "upgrades"
        case lostInRollout = "roles lost or exchanged during a rollout"
        case lostInTrial = "during a trial"
        case lostInScale = "during a scale"
        case lostInSeveral = "during several of these at a time"

        /// At least one of so many schedules leads to it.
        var atLeastOneIn: Int {
            switch self {
            case .apply: 2
            case .supervisorLost: 4
            case .heir, .healthRestart, .balancerLost, .upgrade: 16
            case .replacement, .scaledByHand, .scaledItself, .lostInRollout: 20
            case .trialBegun, .lostInScale: 50
            case .switchOver, .recall, .trialPassed: 100
            case .turnedBack, .trialSentBack: 200
            case .lostInTrial, .lostInSeveral: 400
            case .leftOut: 1000
            case .trialPromoted: 800
            }
        }
    }

    private var counts: [Subject: Int] = [:]

    subscript(_ subject: Subject) -> Int { counts[subject] ?? 0 }

    mutating func count(_ subject: Subject, _ amount: Int = 1) { counts[subject, default: 0] += amount }

    mutating func add(_ other: Tally) { counts.merge(other.counts, uniquingKeysWith: +) }

    var text: String { Subject.allCases.map { "\(self[$0]) \($0.rawValue)" }.joined(separator: ", ") }
}
