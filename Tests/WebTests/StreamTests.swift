import ControlAPI
import Foundation
import Testing

@testable import Web

@Suite("What browsers are sent")
struct StreamTests {
    private func message(_ name: String, _ number: UInt64?, _ data: String) -> String {
        String(decoding: LineFeed.message(name, number, Array(data.utf8)[...]), as: UTF8.self)
    }

    @Test("an event is one message with its number; what has none leaves the browser's last number as it is")
    func messages() {
        #expect(message("event", 17, "{\"number\":17}") == "event: event\nid: 17\ndata: {\"number\":17}\n\n")
        #expect(message("status", nil, "{}") == "event: status\ndata: {}\n\n")
        // No end of a line may begin another field.
        #expect(message("line", nil, "a\r\nid: 5\nb") == "event: line\ndata: aid: 5b\n\n")
    }

    @Test(
        "the page has no script and no style in its markup, and names nothing of another host",
        arguments: ["/", "/icon.svg"])
    func markup(path: String) throws {
        let text = String(decoding: try #require(PageFiles.file(path)).bytes, as: UTF8.self)
        #expect(!text.contains("style="))
        #expect(text.matches(of: /<script(?![^>]*src=")/).isEmpty)
        #expect(text.matches(of: /\son[a-z]+="/).isEmpty)
        #expect(text.matches(of: /(src|href)="(https?:)?\/\//).isEmpty)
        for match in text.matches(of: /(?:src|href)="([^"#][^"]*)"/) {
            #expect(PageFiles.file("/" + match.1) != nil, "\(match.1)")
        }
    }

    @Test("no text becomes markup")
    func scripts() throws {
        let scripts = PageFiles.paths.filter { $0.hasSuffix(".js") }
        #expect(scripts.count > 2)
        for path in scripts {
            let text = String(decoding: try #require(PageFiles.file(path)).bytes, as: UTF8.self)
            for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
                #expect(!text.contains(word), "\(word)")
            }
        }
    }

    @Test("the page weighs little")
    func weight() {
        let bytes = PageFiles.paths.compactMap { PageFiles.file($0) }.map(\.bytes.count)
        #expect(bytes.count == PageFiles.paths.count && bytes.reduce(0, +) < 64 << 10, "\(bytes)")
    }

    @Test("tags differ where files do")
    func tags() {
        let tags = PageFiles.paths.compactMap { PageFiles.file($0)?.tag }
        #expect(Set(tags).count == PageFiles.paths.count)
    }
}
