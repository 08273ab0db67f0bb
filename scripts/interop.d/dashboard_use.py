"""How people use the dashboard: with a mouse, by touch, by keyboard, with a screen reader, and with eyes that need contrast.

Part of 59-dashboard.browser, whose browser, `check` and `eventually` come in."""

import json
import socket
import time

# What can be operated.
CONTROLS = "a[href], button, input, select, textarea, summary, [tabindex='0']"

# Of all text that can be seen, the one that is hardest to read: [ratio, text, how many]. WCAG 2.1, 1.4.3; what is behind a text
# is all that lies below it, composed.
CONTRAST = """(() => {
  const parse = (text) => { const [r, g, b, a = 1] = (text.match(/[0-9.]+/g) ?? [0, 0, 0, 0]).map(Number); return [r, g, b, a]; };
  const over = ([r, g, b, a], below) => [r, g, b].map((v, i) => v * a + below[i] * (1 - a));
  const light = (colour) => colour.slice(0, 3).map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((all, v, i) => all + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    const layers = [];
    for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > 0) layers.push(c); if (c[3] === 1) break; }
    const canvas = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
    return layers.reverse().reduce((below, layer) => over(layer, below), canvas);
  };
  const opacity = (e) => { let all = 1; for (; e; e = e.parentElement) all *= Number(getComputedStyle(e).opacity); return all; };
  let worst = 99, text = "", seen = 0;
  const look = (what, colour, ground, e) => {
    const c = parse(colour);
    c[3] *= opacity(e);
    const a = light(over(c, ground)), b = light(ground);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    seen += 1;
    if (ratio < worst) { worst = ratio; text = `${e.tagName}.${e.getAttribute("class") ?? ""} ${what.trim().slice(0, 40)}`; }
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const e = node.parentElement;
    if (!node.data.trim() || e.closest("script, style, noscript, title, .unseen") || !e.checkVisibility({ checkVisibilityCSS: true })) continue;
    if (e instanceof SVGElement) {
      let box = e;
      while (box && box.tagName !== "rect") box = box.previousElementSibling;
      look(node.data, getComputedStyle(e).fill, over(parse(getComputedStyle(box ?? e).fill), behind(e.closest("svg").parentElement)), e);
    } else look(node.data, getComputedStyle(e).color, behind(e), e);
  }
  for (const e of document.querySelectorAll("input")) {
    if (!e.checkVisibility()) continue;
    look(e.value || "value", getComputedStyle(e).color, behind(e), e);
    if (e.placeholder) look(e.placeholder, getComputedStyle(e, "::placeholder").color, behind(e), e);
  }
  return [worst, text, seen];
})()"""

# What is wrong with the document for those who do not see it: a list of sentences.
STRUCTURE = """(() => {
  const wrong = [], all = [...document.querySelectorAll("*")];
  const ids = all.map((e) => e.id).filter(Boolean);
  for (const id of ids) if (ids.filter((other) => other === id).length > 1) wrong.push(`two have the id ${id}`);
  for (const name of ["aria-labelledby", "aria-describedby", "aria-controls", "for"])
    for (const e of document.querySelectorAll(`[${name}]`))
      for (const id of e.getAttribute(name).split(" ")) if (!ids.includes(id)) wrong.push(`${name} leads to no ${id}`);
  if (!document.documentElement.lang) wrong.push("the language is not told");
  let level = 0;
  for (const h of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    if (!h.checkVisibility()) continue;
    const own = Number(h.tagName[1]);
    if (own > level + 1) wrong.push(`${h.tagName} ${h.textContent} comes after H${level}`);
    level = own;
  }
  if (document.querySelectorAll("h1").length !== 1) wrong.push("there is not one h1");
  for (const e of all) {
    if (Number(e.getAttribute("tabindex")) > 0) wrong.push(`${e.tagName} has an order of its own`);
    const label = e.getAttribute("aria-label"), text = e.textContent.trim();
    if (e.tagName === "BUTTON" && label && !label.includes(text)) wrong.push(`the name ${label} does not have what is seen: ${text}`);
  }
  for (const e of document.querySelectorAll("[aria-hidden=true]")) if (e.querySelector("%s")) wrong.push("something hidden can be operated");
  return wrong;
})()""" % CONTROLS


def button(label):
    """The button that is seen, with this name."""
    return f"[...document.querySelectorAll('button')].find((b) => b.checkVisibility() && (b.ariaLabel ?? b.textContent) === {json.dumps(label)})"


class Use:
    """One use of the page in a browser."""

    def __init__(self, browser, check, eventually):
        self.browser, self.check = browser, check
        self.eventually = lambda *arguments: eventually(browser, *arguments)

    # Hands.

    def point(self, element):
        """The middle of an element in view; it has to be on top there, or nobody could press it."""
        found = self.browser.evaluate(f"""(() => {{
          const e = {element};
          if (!e) return "it is not there";
          e.scrollIntoView({{ block: "center", behavior: "instant" }});
          const box = e.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
          const top = document.elementFromPoint(x, y);
          return top && (e.contains(top) || top.contains(e)) ? [x, y] : `${{top?.tagName}} lies over it`;
        }})()""")
        if not isinstance(found, list):
            self.check(f"{element[-60:]} can be pressed", False, found)
            return None
        return found

    def press(self, element):
        """Presses an element with the mouse."""
        place = self.point(element)
        for kind in ("mousePressed", "mouseReleased") if place else ():
            self.browser.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def tap(self, element):
        """Touches an element."""
        place = self.point(element)
        if place:
            self.browser.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": place[0], "y": place[1]}])
            self.browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def say_yes(self, number=None):
        """Answers what is asked before something is done."""
        self.eventually("it is asked about first", "document.querySelector('#confirm-dialog').open")
        if number is not None:
            self.browser.evaluate("document.querySelector('#confirm-number').select()")
            self.browser.call("Input.insertText", text=str(number))
        self.press("document.querySelector('#confirm-yes')")

    # Eyes.

    def can_be_read(self, where, at_least):
        """All texts have a contrast of 4.5 to 1, dark and light."""
        for scheme in ("light", "dark"):
            self.browser.scheme(scheme)
            worst, text, seen = self.browser.evaluate(CONTRAST)
            self.check(f"all texts can be read against what is behind them ({where}, {scheme})",
                       worst >= 4.5 and seen >= at_least, f"{worst:.2f} of {text}; {seen} texts")
        self.browser.scheme("light")

    def flow(self):
        """The lines of the flow show how many connections are open, and where."""
        picture = "[...document.querySelectorAll('svg.flow')].find((p) => p.querySelector('title').textContent.startsWith('Connections of db.'))"
        some = f"{picture}.querySelectorAll('path.some').length"
        width = f"Math.max(...[...{picture}.querySelectorAll('path.some')].map((p) => Number(p.getAttribute('stroke-width'))))"
        fronts = self.browser.evaluate("status.services.find((s) => s.name === 'db').fronts.map((f) => f.address)")
        # It is drawn while somebody can see it.
        self.browser.evaluate("document.querySelector('#flow').scrollIntoView()")
        port = int(fronts[0].rsplit(":", 1)[1])
        none = f"{picture}.querySelectorAll('path.none').length === {2 * len(fronts)} && {some} === 0"
        self.eventually("no line of the flow is drawn as used while no connection is open", none)
        kept, widths = [], []
        for count, lines in ((1, 1), (2, 2), (8, 2)):
            while len(kept) < count:
                kept.append(socket.create_connection(("127.0.0.1", port), 10))
                kept[-1].sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                kept[-1].recv(65536)
            self.eventually(f"with {count} connections the lines of {lines} of two instances are, and the figure stands beside them",
                            f"{some} === {lines * len(fronts)} && {picture}.textContent.includes('{count} open')")
            widths.append(self.browser.evaluate(width))
        self.check("a line is the wider the more connections it stands for", widths[0] == widths[1] < widths[2], widths)
        for connection in kept:
            connection.close()
        self.eventually("and none is once they have ended", none)
        self.browser.evaluate("scrollTo(0, 0)")

    def follow(self):
        """The log goes on by itself, to its end if that is wanted, and leaves alone who reads further up."""
        lines = "document.querySelectorAll('#log li').length"
        at_end = ("(() => { const l = document.querySelector('#log'); return l.scrollHeight > l.clientHeight + 100 "
                  "&& l.scrollHeight - l.clientHeight - l.scrollTop < 2; })()")

        def grows(name, by=5):
            before = self.browser.evaluate(lines)
            self.eventually(name, f"{lines} >= {before} + {by}")

        self.press(button("Details talker/1"))
        self.eventually("a log has lines", f"{lines} > 0")
        grows("what is written appears in it", 30)
        self.eventually("and its end is in view", at_end)
        self.press("document.querySelector('#log-follow')")
        self.eventually("Follow can be pressed off", "!document.querySelector('#log-follow').checked")
        self.browser.evaluate("document.querySelector('#log').scrollTop = 40")
        grows("without Follow it still goes on")
        place = self.browser.evaluate("document.querySelector('#log').scrollTop")
        self.check("but who reads further up stays there", place == 40, place)
        self.press("document.querySelector('#log-follow')")
        self.check("with Follow the end is in view at once", self.browser.evaluate(at_end))
        grows("and it goes on")
        self.eventually("and stays at its end", at_end)
        self.can_be_read("a log", 30)
        self.browser.key("Escape")
        self.eventually("it is closed", "!document.querySelector('#detail-dialog').open")

    # Ears.

    def has_names(self, where):
        """What one can use or see has a name, and the document leads a screen reader where it should."""
        roles = ("button", "link", "searchbox", "textbox", "spinbutton", "checkbox", "table", "dialog", "img", "image", "log",
                 "navigation", "region", "columnheader", "rowheader")
        nodes = [node for node in self.browser.call("Accessibility.getFullAXTree")["nodes"] if not node.get("ignored")]
        nameless = [node["role"]["value"] for node in nodes
                    if node["role"]["value"] in roles and not node.get("name", {}).get("value")]
        self.check(f"nothing that one can use or see is nameless to a screen reader ({where})", not nameless and len(nodes) > 5, nameless)
        wrong = self.browser.evaluate(STRUCTURE)
        self.check(f"the document is in order for one ({where})", wrong == [], wrong)
        return [node["role"]["value"] for node in nodes]

    def is_a_table(self, where):
        """The table is one to a screen reader, whatever it looks like."""
        roles = self.has_names(where)
        rows = self.browser.evaluate("[...document.querySelectorAll('#services tr')].filter((r) => !r.closest('[hidden]')).length")
        found = {role: roles.count(role) for role in ("table", "row", "columnheader", "rowheader", "cell", "gridcell")}
        # Where there is little room two columns are left out, and figures that are not known.
        right = found["table"] == 1 and found["row"] == rows and found["rowheader"] == rows - 1 \
            and found["cell"] + found["gridcell"] >= 2 * (rows - 1) and found["columnheader"] >= 6
        self.check(f"the table has its rows, headers and cells to a screen reader ({where})", right, f"{found} of {rows} rows")

    def is_calm(self, cause):
        """Many events are told as one: what is read out changes seldom, however much there is to see."""
        self.browser.evaluate("""(() => {
          window.said = [];
          for (const region of document.querySelectorAll("[aria-live=polite], [aria-live=assertive], [role=status], [role=alert], [role=log]")) {
            if (region.getAttribute("aria-live") === "off") continue;
            new MutationObserver(() => said.push(region.textContent.trim())).observe(region, { childList: true, characterData: true, subtree: true });
          }
          window.listed = lastEvent;
        })()""")
        cause()
        self.eventually("many events come at once", "lastEvent >= listed + 12")
        self.eventually("a screen reader is told how many and the last of them", "said.some((text) => /^[0-9]+ events, the last: /.test(text))")
        said, events = self.browser.evaluate("[said, lastEvent - listed]")
        self.check("and is not told each of them", len(said) <= events / 2, f"{events} events: {said}")

    # By keyboard.

    def by_keyboard(self):
        """Tab leads to all that can be operated, in the order of the page, and shows where it is."""
        self.browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
        self.browser.evaluate("""(() => {
          window.stops = [...document.querySelectorAll("%s")].filter((e) => e.checkVisibility() && !e.disabled && e.tabIndex >= 0);
          stops[0].focus();
        })()""" % CONTROLS)
        count = self.browser.evaluate("stops.length")
        wrong = []
        for number in range(count):
            if number > 0:
                self.browser.key("Tab")
            found = self.browser.evaluate("""((number) => {
              const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
              const name = e.ariaLabel ?? (e.textContent.trim().slice(0, 30) || e.id);
              if (e !== stops[number]) return `${name} comes in place of ${stops[number].ariaLabel ?? stops[number].textContent.trim().slice(0, 30)}`;
              if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) return `one does not see that ${name} has the focus`;
              const isIn = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
              return isIn ? null : `${name} has the focus out of view`;
            })(%d)""" % number)
            if found:
                wrong.append(found)
        self.check("Tab leads to all that can be operated, in the order of the page, each in view and marked",
                   count > 12 and not wrong, f"{count} stops; {wrong[:3]}")
        # What is shown anew must not take the focus away.
        kept = self.browser.evaluate("""new Promise((done) => {
          const e = document.querySelector("tr.instance button");
          let left = 3;
          e.focus();
          source.addEventListener("status", () => { left -= 1; if (left === 0) requestAnimationFrame(() => done(document.activeElement === e)); });
        })""")
        self.check("what has the focus keeps it while the page is drawn anew", kept is True, kept)
        self.browser.key("Enter")
        self.eventually("Enter opens what is meant", "document.querySelector('#detail-dialog').open")
        outside = []
        for _ in range(10):
            self.browser.key("Tab")
            outside.append(self.browser.evaluate("(() => { const e = document.activeElement; return e === document.body || !!e.closest('#detail-dialog'); })()"))
        self.check("Tab stays in what is open", all(outside), outside)
        self.has_names("details")
        self.can_be_read("details", 20)
        self.browser.key("Escape")
        self.eventually("Escape closes it", "!document.querySelector('#detail-dialog').open")

    # On a phone.

    def on_a_phone(self):
        """By touch: what can be pressed is large enough (WCAG 2.2, 2.5.8), and is pressed."""
        self.browser.size(320, 640, True)
        self.browser.call("Emulation.setTouchEmulationEnabled", enabled=True)
        # The box of a checkbox is pressed by its label, too; what is out of view, as the link past all, by nobody.
        small = self.browser.evaluate("""[...document.querySelectorAll("%s")].filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > 0)
          .map((e) => [e, (e.type === "checkbox" ? e.closest("label") : e).getBoundingClientRect()])
          .filter(([e, box]) => box.width < 24 || box.height < 24).map(([e, box]) => `${e.ariaLabel ?? e.textContent.trim()} ${box.width}x${box.height}`)""" % CONTROLS)
        self.check("what is pressed by finger is large enough", small == [], small)
        zoomed = self.browser.evaluate("[...document.querySelectorAll('input:not([type=checkbox])')].filter((e) => parseFloat(getComputedStyle(e).fontSize) < 16).map((e) => e.id)")
        self.check("nothing is so small to type in that a phone zooms", zoomed == [], zoomed)
        self.is_a_table("on a phone")
        self.can_be_read("on a phone", 50)
        self.tap("document.querySelector('tr.instance button')")
        self.eventually("a touch opens the details", "document.querySelector('#detail-dialog').open")
        wide = "Math.max(...[...document.querySelectorAll('#detail-dialog, #detail-dialog *')].map((e) => e.getBoundingClientRect().right))"
        self.eventually("all of them is within the screen", f"{wide} <= 320 || {wide}")
        self.tap("document.querySelector('#detail-close')")
        self.eventually("another one closes them", "!document.querySelector('#detail-dialog').open")
        self.browser.call("Emulation.setTouchEmulationEnabled", enabled=False)
        self.browser.size(1280, 900, False)

    # What is changed.

    def unlock(self, token):
        """Gives a token."""
        self.press("document.querySelector('#unlock')")
        self.has_names("the token's dialog")
        self.can_be_read("the token's dialog", 4)
        self.browser.evaluate("document.querySelector('#token').focus()")
        self.browser.call("Input.insertText", text=token)
        self.browser.key("Enter")

    def wrong_token(self):
        """A wrong token changes nothing, and is forgotten."""
        self.unlock("certainly-not-the-token")
        self.eventually("buttons are there with any token, which only supd can tell", f"!!{button('Start db')}")
        self.press(button("Start db"))
        self.eventually("a wrong one is told", "!document.querySelector('#toast').hidden && document.querySelector('#toast').textContent.includes('needs the token')")
        self.can_be_read("a message", 50)
        self.eventually("and forgotten", f"!{button('Start db')} && sessionStorage.length === 0")
        self.check("nothing has come of it", not self.browser.evaluate("document.querySelector('#event-list').textContent.includes('start db')"))

    def change(self):
        """Restart, scale, roll back: pressed, and seen to happen."""
        service = "status.services.find((s) => s.name === 'db')"
        pids = f"{service}.instances.map((i) => i.pid)"
        row = "[...document.querySelectorAll('tr.service')].find((row) => row.querySelector('th span').textContent === 'db').querySelector('.state').textContent"
        events = "document.querySelector('#event-list').textContent"
        before = self.browser.evaluate(pids)
        self.press(button("Restart db/2"))
        self.eventually("Restart of an instance gives it another process, and leaves the others alone",
                        f"(() => {{ const now = {pids}; return now.length === 2 && now[0] === {before[0]} && now[1] > 0 && now[1] !== {before[1]}; }})()", 40)
        self.eventually("and is an event", f"{events}.includes('restart db/2, asked for by the dashboard')")
        before = self.browser.evaluate(pids)
        self.is_calm(lambda: self.press(button("Restart db")))
        self.eventually("Restart of a service gives all of them another",
                        f"(() => {{ const now = {pids}; return now.length === 2 && now.every((pid) => pid > 0 && !{json.dumps(before)}.includes(pid)); }})()", 40)
        self.eventually("and is one, too", f"{events}.includes('restart db, asked for by the dashboard')")
        self.eventually("all is up again", f"{row} === 'running, 2 of 2 ready'", 40)
        self.press(button("Scale db"))
        self.eventually("how many is asked, beginning with how many there are", "document.querySelector('#confirm-number').value === '2'")
        self.has_names("the question")
        self.can_be_read("the question", 4)
        self.press("document.querySelector('#confirm-cancel')")
        self.eventually("Cancel closes the question", "!document.querySelector('#confirm-dialog').open")
        self.press(button("Scale db"))
        self.say_yes(3)
        self.eventually("Scale gives it as many as were asked for", f"{row} === 'running, 3 of 3 ready'", 40)
        self.check("and nothing is done after Cancel", self.browser.evaluate(f"{events}.split('scale db').length") == 2)
        self.check("a manifest was applied before", not self.browser.evaluate("status.services.some((s) => s.name === 'before')"))
        self.press(button("Roll back…"))
        self.say_yes()
        self.eventually("Roll back brings the manifest before into force", "status.services.some((s) => s.name === 'before' && s.state === 'running')", 40)
        self.eventually("which is an event, too", f"/apply manifest 1 of .* begins, asked for by the dashboard/.test({events})")
        bare = self.browser.evaluate("[...document.querySelectorAll('#event-list li')].map((item) => item.lastChild.textContent)"
                                     ".filter((text) => /^(state|start|exit|startFailed|probe|goal|drain|gone|rollout|scale|limit|command|apply|role|daemon|lost)?$/.test(text))")
        self.check("all events are in words", bare == [], bare)

    def only_shows(self):
        """Without web.actions there is nothing to press but what shows more."""
        self.browser.evaluate("(() => { sessionStorage.setItem('supd.token', 'a-token-of-enough-letters'); showActions(); })()")
        self.eventually("what the daemon allows is known", "document.querySelector('#connection').dataset.state === 'live'")
        others = self.browser.evaluate("[...document.querySelectorAll('button')].map((b) => b.checkVisibility() && (b.ariaLabel ?? b.textContent)).filter((name) => name && !name.startsWith('Details '))")
        self.check("without web.actions nothing is there to press but Details, whatever token there is", others == [], others)
        self.browser.evaluate("sessionStorage.clear()")
