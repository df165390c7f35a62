"""Reading sheets: a stratified sample of answers for people to judge, and what they found."""
