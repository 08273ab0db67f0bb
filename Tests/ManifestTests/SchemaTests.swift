import FoundationEssentials
import Foundation
import Manifest
import Testing

/// As much of JSON Schema as the generated one uses; an unknown keyword is a failure, so that nothing is overlooked.
private struct SchemaValidator {
    let root: JSON5Value

    func member(_ key: String, of schema: JSON5Value) -> JSON5Value? {
        guard case .object(let members) = schema.content else { return nil }
        return members.first { $0.key == key }?.value
    }

    func accepts(_ value: JSON5Value, _ schema: JSON5Value) -> Bool {
        guard case .object(let keywords) = schema.content else { return schema.content == .bool(true) }
        return keywords.allSatisfy { accepts(value, $0.key, $0.value, schema) }
    }

    private func accepts(_ value: JSON5Value, _ keyword: String, _ argument: JSON5Value, _ schema: JSON5Value) -> Bool {
        var elements: [JSON5Value] = []
        if case .array(let list) = argument.content { elements = list }
        switch (keyword, argument.content, value.content) {
        case ("$schema", _, _), ("title", _, _), ("description", _, _), ("default", _, _), ("$defs", _, _): return true
        case ("$ref", .string(let reference), _):
            let target = reference.split(separator: "/").dropFirst().reduce(Optional(root)) { schema, key in
                schema.flatMap { member(String(key), of: $0) }
            }
            return target.map { accepts(value, $0) } ?? false
        case ("type", .string(let type), let content): return matches(type, content)
        case ("const", let wanted, let content): return same(wanted, content)
        case ("enum", _, let content): return elements.contains { same($0.content, content) }
        case ("pattern", .string(let pattern), .string(let text)):
            return text.range(of: pattern, options: .regularExpression) != nil
        case ("minLength", .number(let number), .string(let text)):
            return text.unicodeScalars.count >= number.integer ?? 0
        case ("minimum", .number(let limit), .number(let number)):
            return (number.double ?? .nan) >= limit.double ?? .nan
        case ("maximum", .number(let limit), .number(let number)):
            return (number.double ?? .nan) <= limit.double ?? .nan
        case ("minItems", .number(let limit), .array(let list)): return list.count >= limit.integer ?? 0
        case ("maxItems", .number(let limit), .array(let list)): return list.count <= limit.integer ?? 0
        case ("items", _, .array(let list)): return list.allSatisfy { accepts($0, argument) }
        case ("minProperties", .number(let limit), .object(let members)): return members.count >= limit.integer ?? 0
        case ("maxProperties", .number(let limit), .object(let members)): return members.count <= limit.integer ?? 0
        case ("required", _, .object(let members)):
            return elements.allSatisfy { name in members.contains { .string($0.key) == name.content } }
        case ("properties", _, .object(let members)):
            return members.allSatisfy { own in member(own.key, of: argument).map { accepts(own.value, $0) } ?? true }
        case ("additionalProperties", _, .object(let members)):
            let known = member("properties", of: schema)
            return members.allSatisfy { own in
                known.flatMap { member(own.key, of: $0) } != nil || accepts(own.value, argument)
            }
        case ("propertyNames", _, .object(let members)):
            return members.allSatisfy { accepts(JSON5Value(offset: 0, content: .string($0.key)), argument) }
        case ("anyOf", _, _): return elements.contains { accepts(value, $0) }
        case ("allOf", _, _): return elements.allSatisfy { accepts(value, $0) }
        case ("not", _, _): return !accepts(value, argument)
        case ("pattern", _, _), ("minLength", _, _), ("minimum", _, _), ("maximum", _, _), ("minItems", _, _),
            ("maxItems", _, _),
            ("items", _, _), ("minProperties", _, _), ("maxProperties", _, _), ("required", _, _), ("properties", _, _),
            ("additionalProperties", _, _), ("propertyNames", _, _):
            // About values of another type.
            return true
        default:
            Issue.record("unknown keyword \(keyword)")
            return false
        }
    }

    private func matches(_ type: String, _ content: JSON5Value.Content) -> Bool {
        switch (type, content) {
        case ("object", .object), ("array", .array), ("string", .string), ("number", .number), ("boolean", .bool): true
        case ("integer", .number(let number)): number.double.map { $0 == $0.rounded() } ?? false
        default: false
        }
    }

    private func same(_ left: JSON5Value.Content, _ right: JSON5Value.Content) -> Bool {
        if case .number(let left) = left, case .number(let right) = right { return left.double == right.double }
        return left == right
    }
}

@Suite struct SchemaTests {
    private func accepts(_ text: [UInt8]) throws -> Bool {
        let validator = SchemaValidator(root: try #require(JSON5Reader.read(Array(ManifestSchema.text.utf8)).value))
        return validator.accepts(try #require(JSON5Reader.read(text).value), validator.root)
    }

    @Test func schemaAcceptsTheReference() throws {
        #expect(try accepts(try config("reference.json5")))
    }

    @Test(arguments: [
        "command: ['a', '${PORT}']", "command: 'a b'", "command: []", "command: ['a'], replicas: 3",
        "command: ['a'], replicas: -1", "command: ['a'], replicas: '3'", "command: ['a'], replica: 3",
        "command: ['a'], listen: 8080", "command: ['a'], listen: '8080'",
        "command: ['a'], listen: ['[::]:8080', 'unix:/x']", "command: ['a'], listen: 0", "command: ['a'], port: 65536",
        "command: ['a'], ready: 'started'", "command: ['a'], ready: { tcp: true }",
        "command: ['a'], ready: { tcp: false }", "command: ['a'], ready: { tcp: true, http: '/' }",
        "command: ['a'], ready: { http: 'x' }",
        "command: ['a'], ready: 'tcp'", "command: ['a'], restart: 'never'", "command: ['a'], restart: 'ever'",
        "command: ['a'], restart: { limit: { starts: 2, within: '1s' } }",
        "command: ['a'], restart: { limit: { starts: 2 } }", "command: ['a'], restart: { factor: 0 }",
        "command: ['a'], stop: { signal: 'TERM', timeout: '1s' }", "command: ['a'], stop: { signal: 'SIGTERM' }",
        "command: ['a'], stop: { signal: 'RTMIN+31' }", "command: ['a'], stop: { timeout: 5 }",
        "command: ['a'], stop: { timeout: '5' }", "command: ['a'], limits: { nofile: '1:2' }",
        "command: ['a'], limits: { nofile: 'x' }",
        "command: ['a'], limits: { nofile: '1M' }", "command: ['a'], limits: { as: '1M:unlimited' }",
        "command: ['a'], limits: { as: { soft: 1, hard: '2G' } }", "command: ['a'], limits: { as: { soft: 1 } }",
        "command: ['a'], limits: { nice: 41 }", "command: ['a'], limits: { cpu: '5m' }",
        "command: ['a'], limits: { files: 1 }", "command: ['a'], umask: '022'", "command: ['a'], umask: '0999'",
        "command: ['a'], user: 5",
        "command: ['a'], user: 'a b'", "command: ['a'], environment: { A: 'x' }",
        "command: ['a'], environment: { A: 1 }", "command: ['a'], environment: { 'A B': 'x' }",
        "command: ['a'], log: { maxSize: '1M', keep: 2 }",
        "command: ['a'], log: { maxSize: 1 }", "command: ['a'], kind: 'task'", "command: ['a'], kind: 'x'",
        "command: ['a'], directory: ''", "command: ['a'], directory: '/x'",
        "command: ['a'], listen: 80, balance: { queueTimeout: '1s' }",
        "command: ['a'], listen: 80, balance: { maxConnections: false, maxQueue: false, proxyProtocol: false }",
        "command: ['a'], listen: 80, balance: { maxConnections: true }",
        "command: ['a'], listen: 80, balance: { proxyProtocol: true }",
        "command: ['a'], listen: 80, balance: { algorithm: 'x' }",
        "command: ['a'], listen: 80, balance: { algorithm: 'source', log: true }",
        "command: ['a'], listen: 80, balance: { idleTimeout: false, maxQueue: 0 }",
        "command: ['a'], listen: 80, balance: { idleTimeout: true }",
        "command: ['a'], listen: 80, balance: { maxConnections: 0 }",
        "command: ['a'], listen: 80, balance: { proxyProtocol: 'v3' }",
        "command: ['a'], listen: 80, balance: { allow: ['10.0.0.0/8', '::1'] }",
        "command: ['a'], listen: 80, balance: { allow: [] }",
        "command: ['a'], listen: 80, balance: { allow: '10.0.0.0/8' }",
        "command: ['a'], listen: 80, balance: { allow: ['10.0.0.0/08'] }",
        "command: ['a'], listen: { address: 80, keepAlive: false, backlog: 1 }", "command: ['a'], listen: {}",
        "command: ['a'], listen: { address: 80, keepAlive: true }", "command: ['a'], listen: [80, { address: 81 }]",
        "command: ['a'], listen: { address: 80, acceptProxyProtocol: 1 }", "command: ['a'], listen: [{ port: 80 }]",
        "command: ['a'], listen: { address: 80, maxConnectionsPerAddress: 3, userTimeout: '1s', deferAccept: '2s' }",
        "command: ['a'], health: {}", "replicas: 1",
        "command: ['a'], inheritEnvironment: ['PATH']", "command: ['a'], inheritEnvironment: ['A=B']",
        "command: ['a'], port: null",
        "command: ['a'], dependsOn: {}", "command: ['a'], dependsOn: [1]", "command: ['a'], dependsOn: { B: 'ready' }",
        "command: ['a'], environmentFiles: ['a']", "command: ['a'], environmentFiles: 'a'",
    ])
    func schemaAndReaderAgree(fields: String) throws {
        let text = "{ services: { a: { \(fields) } } }"
        #expect(try accepts(Array(text.utf8)) == (load(text).manifest != nil))
    }

    @Test(arguments: [
        "{}", "{ services: {} }", "{ services: { all: { command: 'a' } } }",
        "{ services: { a: { command: 'a' } }, defaults: { command: 'a' } }",
        "{ services: { a: { command: 'a' } }, x: 1 }",
        "{ services: { a: { command: 'a' } }, defaults: { replicas: 2, stop: { timeout: '1s' } }, supd: { portRange: '1-2', balancer: { loops: 64 } } }",
        "{ services: { a: { command: 'a' } }, supd: { balancer: { loops: 65 } } }",
    ])
    func schemaAndReaderAgreeAboutTheRoot(text: String) throws {
        #expect(try accepts(Array(text.utf8)) == (load(text).manifest != nil))
    }
}
