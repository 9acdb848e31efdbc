# Completion of mailctl for bash: verbs, their options, and the names of parameters.
_mailctl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb="" i=1
    COMPREPLY=()
    if [[ $before == -c ]]; then
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
        return
    fi
    [[ ${COMP_WORDS[1]:-} == -c ]] && i=3
    ((COMP_CWORD > i)) && verb=${COMP_WORDS[i]}
    local words
    case $verb in
        "" | help)
            words="$(mailctl help 2>/dev/null | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p')"
            [[ -z $verb ]] && words="-c help $words"
            ;;
        status) words="--json" ;;
        start) words="--foreground" ;;
        flush) words="-d -i -f" ;;
        queue) words="--json list count summary show flush hold release requeue delete expire expire-now ALL --sender --recipient --domain --older --newer --match --queue --dry-run --eml --id" ;;
        config) words="explain -d -n -e -X -x -h -H --json $(mailctl config -dH 2>/dev/null)" ;;
        passwd) words="add remove list verify --scram --json" ;;
        check | tls-probe) words="--json" ;;
        dkim) words="keygen show check --type rsa ed25519 --json" ;;
        oauth) words="login list test remove microsoft google --json --browser --client-credentials --service-account --client-id --client-secret-file --tenant --scope --token-url --device-url --authorization-url --configure --ca-file" ;;
        setup) words="--root-alias --remove" ;;
        map) words="hash: texthash: regexp: pcre: cidr: inline: static: sqlite: socketmap: --json" ;;
        import) words="postfix msmtp ssmtp --dry-run --json" ;;
        test-delivery) words="--json $(compgen -u -- "$word")" ;;
        send-test) words="-f --sender --json $(compgen -u -- "$word")" ;;
        trace) words="--json --log" ;;
        *) return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _mailctl mailctl
