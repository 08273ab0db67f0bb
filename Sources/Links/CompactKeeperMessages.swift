// The binary forms between keeper and supervisor: what an exit and the next start take.

extension KeeperRequest: LinkMessage {
    private enum Tag {
        static let spawn: UInt8 = 1
        static let release: UInt8 = 2
        static let standby: UInt8 = 3
    }

    package var compactForm: [UInt8]? {
        switch self {
        case .spawn(let plan):
            var writer = CompactWriter(tag: Tag.spawn)
            plan.write(to: &writer)
            return writer.bytes
        case .standby(let id, let port, let plan):
            var writer = CompactWriter(tag: Tag.standby)
            writer.write(id)
            writer.write(port)
            plan.write(to: &writer)
            return writer.bytes
        case .release(let id):
            var writer = CompactWriter(tag: Tag.release)
            writer.write(id)
            return writer.bytes
        default: return nil
        }
    }

    package init?(compactForm bytes: [UInt8]) {
        if var reader = CompactReader(bytes, tag: Tag.spawn), let plan = SpawnPlan(from: &reader), reader.isAtEnd {
            self = .spawn(plan)
        } else if var reader = CompactReader(bytes, tag: Tag.standby), let id = reader.number(UInt64.self),
            let port = reader.number(UInt16.self), let plan = SpawnPlan(from: &reader), reader.isAtEnd
        {
            self = .standby(for: id, port: port, plan)
        } else if var reader = CompactReader(bytes, tag: Tag.release), let id = reader.number(UInt64.self),
            reader.isAtEnd
        {
            self = .release(id: id)
        } else {
            return nil
        }
    }
}

extension KeeperNotice: LinkMessage {
    private enum Tag {
        static let spawned: UInt8 = 1
        static let exited: UInt8 = 2
    }

    package var compactForm: [UInt8]? {
        switch self {
        case .spawned(let id, let pid):
            var writer = CompactWriter(tag: Tag.spawned)
            writer.write(id)
            writer.write(pid)
            return writer.bytes
        case .exited(let id, let exit, let groupEmpty, let heir):
            var writer = CompactWriter(tag: Tag.exited)
            writer.write(id)
            exit.write(to: &writer)
            writer.write(groupEmpty)
            writer.write(heir != nil)
            if let heir { writer.write(heir) }
            return writer.bytes
        default: return nil
        }
    }

    package init?(compactForm bytes: [UInt8]) {
        if var reader = CompactReader(bytes, tag: Tag.spawned), let id = reader.number(UInt64.self),
            let pid = reader.number(Int32.self), reader.isAtEnd
        {
            self = .spawned(id: id, pid: pid)
        } else if var reader = CompactReader(bytes, tag: Tag.exited), let id = reader.number(UInt64.self),
            let exit = ChildExit(from: &reader), let groupEmpty = reader.flag(), let hasHeir = reader.flag()
        {
            let heir = hasHeir ? reader.number(UInt64.self) : nil
            guard reader.isAtEnd, (heir != nil) == hasHeir else { return nil }
            self = .exited(id: id, exit: exit, groupEmpty: groupEmpty, heir: heir)
        } else {
            return nil
        }
    }
}

extension ChildExit {
    fileprivate func write(to writer: inout CompactWriter) {
        switch self {
        case .code(let code):
            writer.write(UInt8(0))
            writer.write(code)
        case .signal(let number, let coreDumped):
            writer.write(UInt8(1))
            writer.write(number)
            writer.write(coreDumped)
        }
    }

    fileprivate init?(from reader: inout CompactReader) {
        guard let kind = reader.number(UInt8.self), let number = reader.number(Int32.self) else { return nil }
        switch kind {
        case 0: self = .code(number)
        case 1:
            guard let coreDumped = reader.flag() else { return nil }
            self = .signal(number, coreDumped: coreDumped)
        default: return nil
        }
    }
}

extension SpawnPlan {
    fileprivate func write(to writer: inout CompactWriter) {
        writer.write(id)
        writer.write(label)
        writer.write(candidates)
        writer.write(arguments)
        writer.write(environment)
        writer.write(processIDVariables)
        writer.write(directory)
        writer.write(credentials != nil)
        if let credentials {
            writer.write(credentials.user)
            writer.write(credentials.group)
            writer.write(UInt32(clamping: credentials.supplementary.count))
            for group in credentials.supplementary { writer.write(group) }
        }
        writer.write(umask)
        writer.write(UInt32(clamping: limits.count))
        for limit in limits {
            writer.write(limit.resource)
            writer.write(limit.soft)
            writer.write(limit.hard)
        }
        writer.write(capturesOutput)
        writer.write(UInt32(clamping: passed.count))
        for entry in passed {
            writer.write(entry.number)
            writer.write(entry.held)
        }
    }

    fileprivate init?(from reader: inout CompactReader) {
        guard let id = reader.number(UInt64.self), let label = reader.text(), let candidates = reader.texts(),
            let arguments = reader.texts(), let environment = reader.texts(),
            let processIDVariables = reader.texts(), let directory = reader.text(),
            let hasCredentials = reader.flag()
        else { return nil }
        var credentials: Credentials?
        if hasCredentials {
            guard let user = reader.number(UInt32.self), let group = reader.number(UInt32.self),
                let supplementary = reader.list({ $0.number(UInt32.self) })
            else { return nil }
            credentials = Credentials(user: user, group: group, supplementary: supplementary)
        }
        guard let umask = reader.number(UInt16.self),
            let limits = reader.list({ reader -> Limit? in
                guard let resource = reader.number(Int32.self), let soft = reader.number(UInt64.self),
                    let hard = reader.number(UInt64.self)
                else { return nil }
                return Limit(resource: resource, soft: soft, hard: hard)
            }), let capturesOutput = reader.flag(),
            let passed = reader.list({ reader -> Passed? in
                guard let number = reader.number(Int32.self), let held = reader.text() else { return nil }
                return Passed(number: number, held: held)
            })
        else { return nil }
        self.init(
            id: id, label: label, candidates: candidates, arguments: arguments, environment: environment,
            processIDVariables: processIDVariables, directory: directory, credentials: credentials, umask: umask,
            limits: limits,
            capturesOutput: capturesOutput, passed: passed)
    }
}
