/// One flat object: what all events have, and beside it what one of this kind has. A kind that this version does not know,
/// or whose parts it cannot read, becomes `other`: an event of a newer supd is no reason to lose the rest.
extension EventRecord: Decodable {
    private enum CodingKeys: String, CodingKey {
        case number, at, kind, service, instance
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        number = try container.decode(UInt64.self, forKey: .number)
        at = try container.decode(String.self, forKey: .at)
        service = try container.decodeIfPresent(String.self, forKey: .service)
        instance = try container.decodeIfPresent(String.self, forKey: .instance)
        let name = try container.decode(String.self, forKey: .kind)
        kind = (try? EventKind(named: name, from: decoder)) ?? .other(name)
    }
}

extension EventKind {
    /// The word for it in `kind`.
    package var name: String {
        switch self {
        case .state: "state"
        case .start: "start"
        case .exit: "exit"
        case .startFailed: "startFailed"
        case .probe: "probe"
        case .goal: "goal"
        case .drain: "drain"
        case .gone: "gone"
        case .rollout: "rollout"
        case .scale: "scale"
        case .scaleHindered: "scaleHindered"
        case .limit: "limit"
        case .logDropped: "logDropped"
        case .command: "command"
        case .apply: "apply"
        case .role: "role"
        case .daemon: "daemon"
        case .lost: "lost"
        case .other(let name): name
        }
    }

    /// What it has beside its name, into an object that is begun already.
    func encodePayload(to encoder: any Encoder) throws { try payload?.encode(to: encoder) }

    private var payload: (any Encodable)? {
        switch self {
        case .state(let payload): payload
        case .start(let payload): payload
        case .exit(let payload): payload
        case .startFailed(let payload): payload
        case .probe(let payload): payload
        case .goal(let payload): payload
        case .drain(let payload): payload
        case .rollout(let payload): payload
        case .scale(let payload): payload
        case .scaleHindered(let payload): payload
        case .limit(let payload): payload
        case .logDropped(let payload): payload
        case .command(let payload): payload
        case .apply(let payload): payload
        case .role(let payload): payload
        case .daemon(let payload): payload
        case .lost(let payload): payload
        case .gone(let payload): payload
        case .other: nil
        }
    }

    fileprivate init(named name: String, from decoder: any Decoder) throws {
        switch name {
        case "state": self = .state(try StateChange(from: decoder))
        case "start": self = .start(try ProcessStart(from: decoder))
        case "exit": self = .exit(try ProcessEnd(from: decoder))
        case "startFailed": self = .startFailed(try StartFailure(from: decoder))
        case "probe": self = .probe(try ProbeChange(from: decoder))
        case "goal": self = .goal(try GoalChange(from: decoder))
        case "drain": self = .drain(try DrainChange(from: decoder))
        case "gone": self = .gone(try Gone(from: decoder))
        case "rollout": self = .rollout(try RolloutStep(from: decoder))
        case "scale": self = .scale(try ScaleStep(from: decoder))
        case "scaleHindered": self = .scaleHindered(try ScaleHindrance(from: decoder))
        case "limit": self = .limit(try LimitChange(from: decoder))
        case "logDropped": self = .logDropped(try LogDrop(from: decoder))
        case "command": self = .command(try Command(from: decoder))
        case "apply": self = .apply(try ApplyStep(from: decoder))
        case "role": self = .role(try RoleStep(from: decoder))
        case "daemon": self = .daemon(try DaemonStep(from: decoder))
        case "lost": self = .lost(try Lost(from: decoder))
        default: self = .other(name)
        }
    }
}
