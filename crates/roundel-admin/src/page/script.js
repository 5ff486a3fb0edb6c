'use strict';
(() => {
  const root = document.documentElement, clock = document.getElementById('clock'), say = document.getElementById('say');
  let source, worked = false, last = 0, fails = 0, spoken = '', said = 0, retry, poll;

  // Makes `old` equal to `fresh` in place, so that focus, open details and scrolling stay.
  const morph = (old, fresh) => {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || (old.id || '') !== (fresh.id || '')) {
      old.replaceWith(fresh.cloneNode(true));
      return;
    }
    if (old.nodeType !== 1) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const {name, value} of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    for (const {name} of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== 'open' && name !== 'data-new') old.removeAttribute(name);
    const kept = new Map([...old.children].filter(child => child.id).map(child => [child.id, child]));
    [...fresh.childNodes].forEach((node, i) => {
      const at = old.childNodes[i] || null, same = node.id ? kept.get(node.id) : at && at.id ? null : at;
      if (!same) old.insertBefore(node.cloneNode(true), at);
      else {
        if (same !== at) old.insertBefore(same, at);
        morph(same, node);
      }
    });
    while (old.childNodes.length > fresh.childNodes.length) old.lastChild.remove();
  };

  const put = (id, html) => {
    const old = document.getElementById(id);
    if (!old) return;
    const holder = document.createElement('template');
    holder.innerHTML = html;
    const fresh = holder.content.firstElementChild;
    if (!fresh) return;
    const was = old.className;
    morph(old, fresh);
    if (old.matches('tr') && was !== fresh.className) {
      old.setAttribute('data-new', '');
      setTimeout(() => old.removeAttribute('data-new'), 4000);
    }
  };

  const apply = data => {
    last = performance.now();
    fails = 0;
    root.classList.remove('stale');
    root.dataset.seq = data.seq;
    for (const id in data.parts) put(id, data.parts[id]);
    if (data.title && data.title !== document.title) document.title = data.title;
    if (data.colour) {
      const icon = document.querySelector('link[rel=icon]');
      const href = icon.href.replace(/stroke='[^']*'/, "stroke='" + data.colour + "'");
      if (icon.href !== href) icon.href = href;
    }
    if (data.spoken && data.spoken !== spoken && last - said > 5000) {
      if (spoken) say.textContent = data.spoken;
      spoken = data.spoken;
      said = last;
    }
  };

  const stop = () => {
    if (source) source.close();
    source = undefined;
    clearTimeout(retry);
    clearInterval(poll);
    poll = undefined;
  };

  // Two failed streams in a row: a proxy in between may hold them back. Fetch the page instead.
  const fallback = () => {
    stop();
    fails = 0;
    poll = setInterval(async () => {
      try {
        const answer = await fetch(location.href, {cache: 'no-store'});
        if (!answer.ok) return;
        const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
        const parts = {};
        for (const id of ['head', 'notice', 'tiles', 'servers', 'cluster', 'events', 'process']) {
          const element = page.getElementById(id);
          if (element) parts[id] = element.outerHTML;
        }
        apply({seq: page.documentElement.dataset.seq, parts, title: page.title});
        if (worked) start();
      } catch { }
    }, 3000);
    retry = setTimeout(start, 30000);
  };

  const start = () => {
    stop();
    source = new EventSource('/events' + location.search);
    worked = false;
    const read = event => {
      worked = true;
      apply(JSON.parse(event.data));
    };
    source.addEventListener('snapshot', read);
    source.addEventListener('delta', read);
    source.addEventListener('log', event => {
      const list = document.querySelector('.timeline'), {id, html} = JSON.parse(event.data);
      if (list && !document.getElementById(id)) list.insertAdjacentHTML('afterbegin', html);
    });
    source.onerror = () => {
      fails += 1;
      if (fails >= 2) fallback();
      else if (source.readyState === 2) retry = setTimeout(start, 2000);
    };
  };

  const tick = () => {
    if (!last) return;
    const age = (performance.now() - last) / 1000, stale = age > 2.5;
    root.classList.toggle('stale', stale && !document.hidden);
    clock.className = 'clock ' + (stale ? 'old' : 'live');
    clock.textContent = stale ? 'no news for ' + Math.round(age) + ' s' : 'live · ' + age.toFixed(1) + ' s ago';
  };
  setInterval(() => { if (!document.hidden) tick(); }, 200);

  document.addEventListener('visibilitychange', () => document.hidden ? stop() : start());
  addEventListener('pagehide', stop);
  addEventListener('pageshow', event => { if (event.persisted) start(); });

  const rows = () => [...document.querySelectorAll('tr.row summary')];
  document.addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT|TEXTAREA/.test(event.target.nodeName)) return;
    const all = rows(), at = all.indexOf(document.activeElement);
    if (event.key === '/') {
      const box = document.getElementById('q');
      if (box) { event.preventDefault(); box.focus(); }
    } else if (event.key === 'j' && all.length) all[Math.min(at + 1, all.length - 1)].focus();
    else if (event.key === 'k' && all.length) all[Math.max(at - 1, 0)].focus();
    else if (event.key === 't') {
      const order = ['auto', 'light', 'dark'];
      root.dataset.theme = order[(order.indexOf(root.dataset.theme) + 1) % 3];
    }
  });
  // Sorting and paging keep what only this reader asked for, and reload nothing.
  document.addEventListener('click', event => {
    const link = event.target.closest('table.servers thead a, caption .pages a');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const wanted = new URL(link.href).searchParams, now = new URL(location.href);
    for (const name of ['sort', 'page']) {
      now.searchParams.delete(name);
      if (wanted.has(name)) now.searchParams.set(name, wanted.get(name));
    }
    history.pushState(null, '', now);
    start();
  });
  addEventListener('popstate', start);
  document.addEventListener('submit', event => {
    const verb = event.submitter && event.submitter.value;
    if (verb && /^(drain|maint) /.test(verb) && !confirm(verb.replace(' ', ': ') + '?')) event.preventDefault();
  });

  if (!document.hidden) start();
})();
