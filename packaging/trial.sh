#!/bin/bash
# The trial of the package, in a clean Debian booted in a container: `cargo xtask dist --try` runs it, with the
# package and the log in /trial. Every step that fails ends it.
set -euo pipefail
exec >/trial/log 2>&1
trap 'echo "FAILED in line $LINENO"; journalctl --no-pager --unit=flowmeter | tail -30' ERR

events=/var/log/netflow/netflow-wazuh.json

say() { printf '\n== %s\n' "$*"; }

# Waits up to 30 s for what a command says by its exit code.
wait_for() {
    for _ in $(seq 300); do
        "$@" && return
        sleep 0.1
    done
    echo "in vain: $*"
    return 1
}

# Every file of the system with owner and permissions, less what any boot or package changes.
files() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /trial \) -prune \
        -o -printf '%p %M %u %g\n' | grep -Ev '^/(var/(lib/(apt|dpkg|systemd/(random-seed|catalog|timers))|log/(journal|dpkg\.log|wtmp|btmp|lastlog|faillog|apt)|cache|tmp)|etc/(\.pwd\.lock|(passwd|group|shadow|gshadow)-|machine-id|\.updated)|root/\.)' | sort
}

say "$(. /etc/os-release; echo "$PRETTY_NAME"), Linux $(uname -r), $(systemctl --version | head -1)"
ip link add in0 type veth peer name out0
ip address add 192.168.56.10/24 dev in0
ip link set in0 up
ip link set out0 up
files >/tmp/before

say 'install'
apt-get install --yes /trial/flowmeter.deb
systemctl is-active flowmeter
systemctl is-enabled flowmeter
systemctl show flowmeter --property=Type,NotifyAccess,WatchdogUSec,User,MainPID,StatusText
pid=$(systemctl show flowmeter --property=MainPID --value)
grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):' "/proc/$pid/status"
ls -ld /var/log/netflow "$events" /var/lib/flowmeter

say 'packets become events'
ping -c 3 -i 0.2 -I out0 192.168.56.99 >/dev/null || true
for _ in 1 2 3; do ip link set out0 down; ip link set out0 up; done
wait_for grep -q '"network_flow"' "$events"
wc -l "$events"
head -c 600 "$events"; echo

say 'reload: a new interval, without a restart'
sed -i 's/^interval = "10s"/interval = "2s"/' /etc/flowmeter/flowmeter.toml
systemctl reload flowmeter
wait_for sh -c "journalctl --no-pager --unit=flowmeter | grep -q 'configuration read again'"
[ "$(systemctl show flowmeter --property=MainPID --value)" = "$pid" ]
[ "$(systemctl show flowmeter --property=SubState --value)" = running ]

say 'Wazuh is installed later: its group reads the events'
groupadd --system wazuh
mkdir -p /var/ossec/etc /var/ossec/bin /var/ossec/var/run
printf '<ossec_config>\n</ossec_config>\n' >/var/ossec/etc/ossec.conf
touch /var/ossec/bin/wazuh-agentd /var/ossec/var/run/wazuh-agentd-1.pid
chgrp -R wazuh /var/ossec
dpkg-trigger --by-package=flowmeter /var/ossec/bin
dpkg --triggers-only --pending
ls -ld /var/log/netflow "$events"
[ "$(stat -c '%U %G %a' /var/log/netflow)" = 'flowmeter wazuh 2750' ]
[ "$(stat -c '%U %G %a' "$events")" = 'flowmeter wazuh 640' ]
flowmeter wazuh install --agent
touch /var/ossec/var/run/wazuh-logcollector-1.pid

say 'doctor'
flowmeter doctor

say 'watchdog: an agent that hangs is ended and started again'
mkdir -p /run/systemd/system/flowmeter.service.d
printf '[Service]\nWatchdogSec=3s\n' >/run/systemd/system/flowmeter.service.d/trial.conf
systemctl daemon-reload
systemctl restart flowmeter
pid=$(systemctl show flowmeter --property=MainPID --value)
kill -STOP "$pid"
restarted() {
    now=$(systemctl show flowmeter --property=MainPID --value)
    [ "$now" != 0 ] && [ "$now" != "$pid" ] && systemctl is-active --quiet flowmeter
}
wait_for restarted
journalctl --no-pager --unit=flowmeter | grep -i watchdog
rm -r /run/systemd/system/flowmeter.service.d
systemctl daemon-reload

say 'a wrong configuration is told, and not tried again and again'
cp /etc/flowmeter/flowmeter.toml /tmp/right
echo 'nonsense = 1' >>/etc/flowmeter/flowmeter.toml
if systemctl restart flowmeter; then false; fi
systemctl show flowmeter --property=ActiveState,NRestarts,ExecMainStatus
[ "$(systemctl show flowmeter --property=ExecMainStatus --value)" = 78 ]
cp /tmp/right /etc/flowmeter/flowmeter.toml
systemctl reset-failed flowmeter
systemctl start flowmeter

say 'install again, as an upgrade: it runs on, configuration and events stay'
lines=$(wc -l <"$events")
dpkg --install --force-confold /trial/flowmeter.deb >/dev/null
systemctl is-active flowmeter
grep -q '^interval = "2s"' /etc/flowmeter/flowmeter.toml
[ "$(wc -l <"$events")" -ge "$lines" ]

say 'remove, then purge'
flowmeter wazuh uninstall --agent
rm -r /var/ossec
groupdel wazuh
apt-get remove --yes flowmeter >/dev/null
if systemctl is-active --quiet flowmeter; then false; fi
if grep -x flowmeter /proc/[0-9]*/comm; then false; fi
[ -s "$events" ] && echo 'the events are still there'
apt-get purge --yes flowmeter >/dev/null
if getent passwd flowmeter || getent group flowmeter; then false; fi
files >/tmp/after
diff /tmp/before /tmp/after
echo 'no trace'

say 'the tarball'
tar -xzf /trial/flowmeter.tar.gz --strip-components=1 --no-same-owner --no-overwrite-dir -C /
systemd-sysusers flowmeter.conf
systemd-tmpfiles --create flowmeter.conf || [ $? = 65 ]
systemctl daemon-reload
systemctl enable --now flowmeter
systemctl is-active flowmeter
flowmeter doctor >/dev/null
systemctl disable --now flowmeter

say 'passed'
echo passed
