import Events
import Foundation
import Testing
import Why

@testable import Web

/// The page has no words of its own for events: what it shows is what `supctl events` says.
@Suite("Events as the page gets them")
struct WordedEventTests {
    /// An event of each kind, in order: who adds a kind has to add one here, or this does not compile.
    private static func kind(after kind: EventKind?) -> EventKind? {
        switch kind {
        case nil: .state(.init(from: "running", to: "backoff", reason: "exited with code 1"))
        case .state: .start(.init(generation: 7, pid: 42, restarts: 3))
        case .start: .exit(.init(generation: 7, signal: "SIGKILL", reason: "killed by SIGKILL"))
        case .exit: .startFailed(.init(generation: 8, reason: "no \"such\" file\n\u{2028}"))
        case .startFailed: .probe(.init(outcome: .unhealthy, reason: "GET / answered 500"))
        case .probe: .goal(.init(goal: "up", reason: "woken by a connection"))
        case .goal: .drain(.init(drained: true))
        case .drain: .gone(.init(reason: "scaled to 1"))
        case .gone: .rollout(.init(step: .goingBack, reason: "api/1 was not ready"))
        case .rollout: .scale(.init(from: 2, to: 3, reason: "81 connections per instance, the target is 50"))
        case .scale: .scaleHindered(.init(from: 2, to: 3, reason: "there is no port left", load: "81 connections"))
        case .scaleHindered: .limit(.init(limit: "nofile", old: "1024", new: "4096", by: "uid 0 (pid 9)"))
        case .limit: .logDropped(.init(lines: 7, bytes: 700, reason: "more than 10 a second"))
        case .logDropped: .command(.init(verb: "restart", names: ["api"], by: "the dashboard", userID: nil))
        case .command: .apply(.init(step: .failed, manifest: "/etc/supd.json5", reason: "api/1 was not ready"))
        case .apply: .role(.init(role: "balancer", step: "ended", reason: "killed by SIGKILL"))
        case .role: .daemon(.init(step: .started, version: "1.0"))
        case .daemon: .lost(.init(count: 12))
        case .lost: .other("weather")
        case .other: nil
        }
    }

    private static var all: [EventRecord] {
        var events: [EventRecord] = []
        while let kind = kind(after: events.last?.kind) {
            events.append(
                EventRecord(
                    number: UInt64(events.count + 1), at: "2026-01-31T10:20:30.123Z", service: "api",
                    instance: "api/2", kind: kind))
        }
        return events
    }

    @Test("every kind comes with the words of supctl, and all else as it was")
    func words() throws {
        #expect(Self.all.count == 19)
        for event in Self.all {
            let line = try #require(EventLine.text(event)).dropLast()
            let worded = WordedEvent.line(line)
            let object = try #require(
                try JSONSerialization.jsonObject(with: Data(worded)) as? [String: Any], "\(event)")
            let text = try #require(object["text"] as? String)
            #expect(text == EventText.text(of: event).text)
            // More than its kind, and why.
            #expect(!text.isEmpty && text != event.kind.name, "\(event)")
            #expect(EventLine.event(worded) == event)
            let before = try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any]
            #expect(object.count == (before?.count ?? 0) + 1)
            // As it is sent it is still one line, with its number.
            let message = String(decoding: LineFeed.message("event", event.number, worded), as: UTF8.self)
            #expect(message.split(separator: "\n").count == 3)
        }
        for reason in ["woken by a connection", "scaled to 1", "scaled from 2 to 3: 81 connections"] {
            #expect(Self.all.contains { EventText.text(of: $0).text.contains(reason) }, "\(reason)")
        }
    }

    @Test(
        "what is no event goes on as it came",
        arguments: ["", "}", "{}", "x", "{\"number\":1}", "{\"number\":1,\"at\":\"x\",\"kind\":\"gone\"} "])
    func others(text: String) {
        #expect(Array(WordedEvent.line(Array(text.utf8)[...])) == Array(text.utf8))
    }

    @Test("the page's scripts have none of their own")
    func scripts() throws {
        let page = String(decoding: try #require(PageFiles.file("/")).bytes, as: UTF8.self)
        let names = page.matches(of: /<script src="([^"]+)"/).map { "/\($0.1)" }
        let text = try names.map { String(decoding: try #require(PageFiles.file($0)).bytes, as: UTF8.self) }.joined()
        #expect(names.contains("/app.js") && text.contains("event.text"))
        for event in Self.all { #expect(!text.contains("case \"\(event.kind.name)\""), "\(event.kind.name)") }
    }
}
